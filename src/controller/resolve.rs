//! From objects and their references to what the engine takes: Secrets and ConfigMaps are read by name, when they are
//! needed, and kept by nobody but the runners that need them.

use k8s_openapi::api::core::v1::{ConfigMap, Secret as SecretObject};
use kube::api::Api;
use kube::{Client, ResourceExt};

use super::client::{self, CALL_LIMIT};
use crate::api::{
    CaSource, Connection, Database as DatabaseObject, Durability, DurationText, HttpTls, LocalRef,
    MetricsProvider, OutOfOrder, Reason, ReplicaMode, Reversibility as WireReversibility, SecretKeyRef,
    Tls as WireTls, TlsMode as WireTlsMode, Version, validate,
};
use crate::core::plan::{Guard, Reversibility};
use crate::core::state::Cause;
use crate::engine::subject::{Database, Providers, Recorded, Standby};
use crate::metrics::{Auth, PrometheusConfig, PrometheusProvider, Provider, Secret as HttpSecret};
use crate::postgres::identity::Pinned;
use crate::postgres::{Secret, Target, Tls, TlsMode};

/// Why something could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// Something is missing or wrong in the objects; it is told, and looked at again.
    #[error("{}", .0.message)]
    Cause(Cause),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] client::Error),
}

fn cause<T>(reason: Reason, message: impl Into<String>) -> Result<T, Unresolved> {
    Err(Unresolved::Cause(Cause::new(reason, message)))
}

/// Reads objects of one namespace.
#[derive(Clone)]
pub struct Resolver {
    client: Client,
    namespace: String,
}

impl Resolver {
    /// Makes a resolver for a namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    async fn secret(&self, name: &str) -> Result<SecretObject, Unresolved> {
        let api: Api<SecretObject> = Api::namespaced(self.client.clone(), &self.namespace);
        match client::within(CALL_LIMIT, &format!("read Secret {name}"), api.get_opt(name)).await? {
            Some(secret) => Ok(secret),
            None => cause(
                Reason::SecretNotFound,
                format!("Secret {name} does not exist in namespace {}", self.namespace),
            ),
        }
    }

    async fn secret_key(&self, at: &SecretKeyRef) -> Result<String, Unresolved> {
        let secret = self.secret(&at.name).await?;
        let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(&at.key)) else {
            return cause(Reason::SecretKeyNotFound, format!("Secret {} has no key {}", at.name, at.key));
        };
        match String::from_utf8(bytes.0.clone()) {
            // A trailing newline comes from a file, and belongs to nobody's password.
            Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(_) => {
                cause(Reason::SecretKeyNotFound, format!("key {} of Secret {} is not text", at.key, at.name))
            }
        }
    }

    async fn ca(&self, source: &CaSource) -> Result<Vec<u8>, Unresolved> {
        if let Some(at) = &source.secret_key_ref {
            return Ok(self.secret_key(at).await?.into_bytes());
        }
        let Some(at) = &source.config_map_key_ref else {
            return cause(Reason::PlanInvalid, "caFrom names neither a Secret nor a ConfigMap");
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found =
            client::within(CALL_LIMIT, &format!("read ConfigMap {}", at.name), api.get_opt(&at.name)).await?;
        let Some(map) = found else {
            return cause(Reason::SecretNotFound, format!("ConfigMap {} does not exist", at.name));
        };
        match map.data.as_ref().and_then(|data| data.get(&at.key)) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => cause(Reason::SecretKeyNotFound, format!("ConfigMap {} has no key {}", at.name, at.key)),
        }
    }

    async fn client_certificate(&self, at: &LocalRef) -> Result<(Vec<u8>, Vec<u8>), Unresolved> {
        let key = |key: &str| SecretKeyRef { name: at.name.clone(), key: key.to_owned() };
        let (certificate, private) =
            (self.secret_key(&key("tls.crt")).await?, self.secret_key(&key("tls.key")).await?);
        Ok((certificate.into_bytes(), private.into_bytes()))
    }

    async fn tls(&self, wire: Option<&WireTls>) -> Result<Tls, Unresolved> {
        let mut tls = Tls::default();
        let Some(wire) = wire else { return Ok(tls) };
        tls.mode = match wire.mode {
            WireTlsMode::Disable => TlsMode::Disable,
            WireTlsMode::Require => TlsMode::Require,
            WireTlsMode::VerifyCA => TlsMode::VerifyCA,
            WireTlsMode::VerifyFull => TlsMode::VerifyFull,
        };
        if let Some(source) = &wire.ca_from {
            tls.ca_pem = Some(self.ca(source).await?);
        }
        if let Some(at) = &wire.client_certificate_secret_ref {
            let (certificate, private) = self.client_certificate(at).await?;
            tls.client_cert_pem = Some(certificate);
            tls.client_key_pem = Some(private);
        }
        Ok(tls)
    }

    async fn target(
        &self,
        field: &str,
        url: Option<&SecretKeyRef>,
        connection: Option<&Connection>,
        tls: Option<&WireTls>,
    ) -> Result<Target, Unresolved> {
        let tls = self.tls(tls).await?;
        let made = match (url, connection) {
            (Some(at), _) => Target::from_url(&self.secret_key(at).await?, tls),
            (None, Some(parts)) => {
                let username = self.secret_key(&parts.username_from.secret_key_ref).await?;
                let password = self.secret_key(&parts.password_from.secret_key_ref).await?;
                Target::new((&parts.host, parts.port), &parts.database, &username, Secret::new(password), tls)
            }
            (None, None) => {
                return cause(
                    Reason::PlanInvalid,
                    format!("{field}: one of urlFrom and connection is required"),
                );
            }
        };
        made.or_else(|error| cause(Reason::ConnectionInvalid, format!("{field}: {error}")))
    }

    /// Resolves a Database.
    ///
    /// # Errors
    /// What is missing, by name, never its value.
    pub async fn database(&self, object: &DatabaseObject) -> Result<Database, Unresolved> {
        let problems = validate::database(&object.spec);
        if !problems.is_empty() {
            let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return cause(Reason::PlanInvalid, format!("Database {}: {message}", object.name_any()));
        }
        let spec = &object.spec;
        let primary = &spec.primary;
        let url = primary.url_from.as_ref().map(|source| &source.secret_key_ref);
        let primary =
            self.target("spec.primary", url, primary.connection.as_ref(), primary.tls.as_ref()).await?;
        let copy = match (&spec.replica.existing, spec.replica.mode) {
            (Some(existing), ReplicaMode::Existing) => {
                let url = existing.url_from.as_ref().map(|source| &source.secret_key_ref);
                let field = "spec.replica.existing";
                Some(self.target(field, url, existing.connection.as_ref(), existing.tls.as_ref()).await?)
            }
            _ => None,
        };
        let mut standbys = Vec::new();
        for (index, standby) in spec.standbys.iter().enumerate() {
            let (field, at) = (format!("spec.standbys[{index}]"), &standby.url_from.secret_key_ref);
            let target = self.target(&field, Some(at), None, spec.primary.tls.as_ref()).await?;
            standbys.push(Standby { name: standby.name.clone(), target });
        }
        let duration = |text: &DurationText, otherwise| text.parse("spec.guard").unwrap_or(otherwise);
        let usual = Guard::default();
        let guard = Guard {
            max_stall: duration(&spec.guard.max_stall, usual.max_stall),
            lock_retry_for: duration(&spec.guard.lock_retry_for, usual.lock_retry_for),
            statement_timeout: spec
                .guard
                .statement_timeout
                .as_ref()
                .map_or(usual.statement_timeout, |text| duration(text, usual.statement_timeout)),
            max_replication_lag: duration(&spec.guard.max_replication_lag, usual.max_replication_lag),
        };
        Ok(Database {
            name: format!("{}/{}", self.namespace, object.name_any()),
            primary,
            copy,
            standbys,
            owner_role: spec.owner_role.clone(),
            guard,
            min_reversibility: match spec.policy.min_reversibility {
                WireReversibility::ForwardOnly => Reversibility::ForwardOnly,
                WireReversibility::ReversibleWithArchive => Reversibility::ReversibleWithArchive,
                WireReversibility::Reversible => Reversibility::Reversible,
            },
            out_of_order: spec.policy.out_of_order == OutOfOrder::Allow,
            baseline: spec
                .baseline
                .as_ref()
                .and_then(|baseline| Version::parse(&baseline.version, "spec.baseline.version").ok()),
            remote_apply: spec.durability == Durability::RemoteApply,
            recorded: recorded(object),
        })
    }

    /// Resolves the providers that are named; what is wrong with one is kept with it.
    ///
    /// # Errors
    /// Only when the API server does not answer.
    pub async fn providers<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Providers, Unresolved> {
        let mut providers = Providers::default();
        let api: Api<MetricsProvider> = Api::namespaced(self.client.clone(), &self.namespace);
        for name in names {
            if providers.by_name.contains_key(name) {
                continue;
            }
            let found =
                client::within(CALL_LIMIT, &format!("read MetricsProvider {name}"), api.get_opt(name))
                    .await?;
            let made = match found {
                None => cause(
                    Reason::ProviderNotFound,
                    format!("MetricsProvider {name} does not exist in namespace {}", self.namespace),
                ),
                Some(object) => {
                    let every =
                        object.spec.prometheus.scrape_interval.parse("spec.prometheus.scrapeInterval");
                    if let Ok(every) = every {
                        providers.scrape_intervals.insert(name.to_owned(), every);
                    }
                    self.provider(&object).await
                }
            };
            match made {
                Ok(provider) => {
                    providers.by_name.insert(name.to_owned(), provider);
                }
                Err(Unresolved::Cause(cause)) => providers.wrong.push(cause),
                Err(error @ Unresolved::Api(_)) => return Err(error),
            }
        }
        Ok(providers)
    }

    /// Resolves one provider.
    ///
    /// # Errors
    /// What is missing or wrong, by name.
    pub async fn provider(&self, object: &MetricsProvider) -> Result<Provider, Unresolved> {
        let problems = validate::metrics_provider(&object.spec);
        if !problems.is_empty() {
            let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return cause(
                Reason::ProviderNotFound,
                format!("MetricsProvider {}: {message}", object.name_any()),
            );
        }
        let spec = &object.spec.prometheus;
        let secret = |text: String| HttpSecret::new(text);
        let auth = match &spec.auth {
            None => None,
            Some(auth) => match (&auth.bearer_token_from, &auth.basic) {
                (Some(token), _) => Some(Auth::Bearer(secret(self.secret_key(&token.secret_key_ref).await?))),
                (None, Some(basic)) => Some(Auth::Basic {
                    username: self.secret_key(&basic.username_from.secret_key_ref).await?,
                    password: secret(self.secret_key(&basic.password_from.secret_key_ref).await?),
                }),
                (None, None) => None,
            },
        };
        let mut headers = Vec::new();
        for header in &spec.headers {
            let value = match (&header.value, &header.value_from) {
                (Some(value), _) => value.clone(),
                (None, Some(from)) => self.secret_key(&from.secret_key_ref).await?,
                (None, None) => String::new(),
            };
            headers.push((header.name.clone(), secret(value)));
        }
        let (ca_pem, identity_pem) = self.http_tls(spec.tls.as_ref()).await?;
        let timeout = spec.timeout.parse("spec.prometheus.timeout").unwrap_or(CALL_LIMIT);
        let url = spec.url.clone();
        let config = PrometheusConfig { url, auth, ca_pem, identity_pem, headers, timeout };
        match PrometheusProvider::new(config) {
            Ok(provider) => Ok(Provider::Prometheus(provider)),
            Err(error) => {
                cause(Reason::ProviderNotFound, format!("MetricsProvider {}: {error}", object.name_any()))
            }
        }
    }

    async fn http_tls(
        &self,
        tls: Option<&HttpTls>,
    ) -> Result<(Option<String>, Option<HttpSecret>), Unresolved> {
        let Some(tls) = tls else { return Ok((None, None)) };
        let ca = match &tls.ca_from {
            Some(source) => Some(String::from_utf8_lossy(&self.ca(source).await?).into_owned()),
            None => None,
        };
        let identity = match &tls.client_certificate_secret_ref {
            Some(at) => {
                let (certificate, private) = self.client_certificate(at).await?;
                let both = [certificate, private].concat();
                Some(HttpSecret::new(String::from_utf8_lossy(&both).into_owned()))
            }
            None => None,
        };
        Ok((ca, identity))
    }
}

/// What the Database's status says that was seen before.
fn recorded(object: &DatabaseObject) -> Recorded {
    let Some(status) = &object.status else { return Recorded::default() };
    let version = |text: &String| Version::parse(text, "status.currentVersions").ok();
    Recorded {
        server: status.server.as_ref().filter(|server| !server.system_identifier.is_empty()).map(|server| {
            // Zero stands for a timeline that was not known.
            let timeline = u32::try_from(server.timeline).ok().filter(|timeline| *timeline > 0);
            Pinned { system_identifier: server.system_identifier.clone(), timeline }
        }),
        ledger: status.ledger_version.is_some(),
        versions: status
            .current_versions
            .iter()
            .filter_map(|(stream, text)| Some((stream.clone(), version(text)?)))
            .collect(),
    }
}
