//! A client of the Prometheus HTTP API: Prometheus, Thanos, Mimir, VictoriaMetrics.
//!
//! Every query is bounded in time and in size, follows no redirect, and takes nothing from the environment.

use std::{error::Error as _, fmt, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Certificate, Client, ClientBuilder, Identity, Response, header,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use rustls::crypto::{CryptoProvider, ring};
use url::Url;

use super::{
    Secret,
    answer::{Refusal, interpret},
};
use crate::core::analysis::{Failure, Reading};

/// The largest answer: a number needs a hundred bytes, a thousand series less than this.
const BODY_LIMIT: usize = 1 << 20;
/// The longest message in characters: it is stored with every sample.
const MESSAGE_LIMIT: usize = 300;
/// Headers that belong to the client.
const RESERVED: [HeaderName; 5] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];

/// Where a server is, and how to speak to it.
#[derive(Debug, Clone)]
pub struct PrometheusConfig {
    /// The address, to which `/api/v1/query` is appended.
    pub url: String,
    /// How to show who we are.
    pub auth: Option<Auth>,
    /// The certificates that vouch for the server, PEM; absent: those of the system.
    pub ca_pem: Option<String>,
    /// Our certificate and its key, both PEM, one after the other.
    pub identity_pem: Option<Secret>,
    /// Headers of every query.
    pub headers: Vec<(String, Secret)>,
    /// The longest time of a query, from the connection to the last byte of the answer.
    pub timeout: Duration,
}

/// How to show who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A bearer token.
    Bearer(Secret),
    /// A user and a password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
}

/// A provider cannot be asked as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is not usable.
    #[error("url of the metrics provider: {0}")]
    Url(String),
    /// The CA certificates are not usable.
    #[error("ca certificates of the metrics provider: {0}")]
    Ca(String),
    /// The client certificate or its key is not usable.
    #[error("client certificate of the metrics provider: {0}")]
    Identity(String),
    /// A header is not usable.
    #[error("header {name} of the metrics provider: {problem}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The client cannot be made.
    #[error("client for the metrics provider: {0}")]
    Client(String),
}

/// A server that can be asked.
#[derive(Clone)]
pub struct PrometheusProvider {
    client: Client,
    endpoint: Url,
    auth: Option<Auth>,
    headers: HeaderMap,
    timeout: Duration,
    /// What must not appear in a message.
    secrets: Vec<Secret>,
}

impl fmt::Debug for PrometheusProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusProvider")
            .field("endpoint", &self.endpoint.as_str())
            .field("auth", &self.auth)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl PrometheusProvider {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// Where the address, a certificate or a header is not usable.
    pub fn new(config: PrometheusConfig) -> Result<Self, Error> {
        let endpoint = endpoint(&config.url)?;
        let headers = headers(&config)?;
        let builder = Client::builder()
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("whimbrel/", env!("CARGO_PKG_VERSION")));
        let builder = with_tls(builder, &endpoint, &config)?;
        let client = builder.build().map_err(|error| Error::Client(causes(error)))?;
        let credential = config.auth.as_ref().map(|auth| match auth {
            Auth::Bearer(token) => token.clone(),
            Auth::Basic { password, .. } => password.clone(),
        });
        let secrets = config.headers.into_iter().map(|(_, value)| value).chain(credential).collect();
        Ok(Self { client, endpoint, auth: config.auth, headers, timeout: config.timeout, secrets })
    }

    /// Evaluates an instant query at a time.
    pub async fn query(&self, promql: &str, at: Timestamp) -> Reading {
        match self.ask(promql, at).await {
            Ok(Reading::Partial(warnings)) => Reading::Partial(self.presentable(&warnings)),
            Ok(reading) => reading,
            Err(refusal) => Reading::Error(refusal.failure, self.presentable(&refusal.message)),
        }
    }

    async fn ask(&self, promql: &str, at: Timestamp) -> Result<Reading, Refusal> {
        let time = format!("{}.{:03}", at.as_second(), at.subsec_millisecond());
        let timeout = format!("{}ms", self.timeout.as_millis());
        let form = [("query", promql), ("time", time.as_str()), ("timeout", timeout.as_str())];
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone()).form(&form);
        let request = match &self.auth {
            Some(Auth::Bearer(token)) => request.bearer_auth(token.expose()),
            Some(Auth::Basic { username, password }) => request.basic_auth(username, Some(password.expose())),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.no_answer(error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.redirected(&response));
        }
        let body = self.body(response).await?;
        interpret(status.as_u16(), &body)
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(error))? {
            if body.len().saturating_add(chunk.len()) > BODY_LIMIT {
                let message = "the answer is larger than 1 MiB; aggregate in the query";
                return Err(Refusal::new(Failure::BadAnswer, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn no_answer(&self, error: reqwest::Error) -> Refusal {
        let message = if error.is_timeout() {
            format!("no answer within {:?}", self.timeout)
        } else if error.is_connect() {
            format!("no connection to the provider: {}", causes(error))
        } else {
            format!("the connection broke off: {}", causes(error))
        };
        Refusal::new(Failure::Unreachable, message)
    }

    fn redirected(&self, response: &Response) -> Refusal {
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| self.endpoint.join(location).ok()).map(|mut target| {
            // A login page may be handed a token in either place.
            target.set_query(None);
            target.set_fragment(None);
            let _ = target.set_username("");
            let _ = target.set_password(None);
            target
        });
        let target = target.map_or_else(|| "somewhere else".to_owned(), String::from);
        let status = response.status().as_u16();
        let message = format!("the provider redirects to {target} (HTTP status {status}); set the final url");
        Refusal::new(Failure::BadAnswer, message)
    }

    /// Returns a message without credentials, on one line, and not too long.
    fn presentable(&self, message: &str) -> String {
        let message = self.secrets.iter().fold(message.to_owned(), |message, secret| secret.redact(&message));
        let printable = message.chars().map(|char| if char.is_control() { ' ' } else { char });
        let mut bounded: String = printable.take(MESSAGE_LIMIT).collect();
        if message.chars().nth(MESSAGE_LIMIT).is_some() {
            bounded.pop();
            bounded.push('…');
        }
        bounded
    }
}

fn endpoint(text: &str) -> Result<Url, Error> {
    // The text is not quoted: it may hold a password.
    let mut url = Url::parse(text).map_err(|error| Error::Url(error.to_string()))?;
    let problem = match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            "must not hold a user or a password; use auth"
        }
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
            "must not have a query or a fragment"
        }
        "http" | "https" => {
            let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
            url.set_path(&path);
            return Ok(url);
        }
        _ => "must begin with http:// or https://",
    };
    Err(Error::Url(problem.to_owned()))
}

fn headers(config: &PrometheusConfig) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let refused = |problem| Error::Header { name: name.clone(), problem };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("not the name of a header"))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| refused("the value has characters that no header has"))?;
        value.set_sensitive(true);
        if RESERVED.contains(&key) {
            return Err(refused("is set by the client itself"));
        }
        if key == header::AUTHORIZATION && config.auth.is_some() {
            return Err(refused("is set by auth already"));
        }
        headers.insert(key, value);
    }
    Ok(headers)
}

fn with_tls(
    builder: ClientBuilder,
    endpoint: &Url,
    config: &PrometheusConfig,
) -> Result<ClientBuilder, Error> {
    if CryptoProvider::get_default().is_none() {
        // Fails only where somebody else was faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
    let builder = match &config.ca_pem {
        Some(pem) => {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
            if certificates.is_empty() {
                return Err(Error::Ca("there is no PEM certificate in them".to_owned()));
            }
            builder.tls_certs_only(certificates)
        }
        // Loading the system's certificates fails where there are none, as in an image of one binary.
        None if endpoint.scheme() == "http" => builder.tls_certs_only([]),
        None => builder,
    };
    match &config.identity_pem {
        Some(pem) => {
            let identity = Identity::from_pem(pem.expose().as_bytes());
            let identity = identity.map_err(|error| Error::Identity(causes(error)))?;
            Ok(builder.identity(identity))
        }
        None => Ok(builder),
    }
}

/// Returns an error with its causes, without the address.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
