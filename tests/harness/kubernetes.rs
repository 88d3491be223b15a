//! etcd and the Kubernetes API server as plain processes: RBAC, CEL, admission policies and the audit log are real;
//! there is no controller manager and no node, so nothing is garbage collected and no Pod runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::{ApiCapabilities, ApiResource, Scope};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::manifests::{apply, crd_resource, kind_of};
use super::process::{self, Process, Spec};
use super::tls::Authority;
use super::{await_until, init, ports, scratch};

const READY: Duration = Duration::from_mins(1);
const MODULE: &str = include_str!("../setup/kubernetes/go.mod");
const REMEDY: &str = "tests/setup/kubernetes.sh";
/// The token of a user in `system:masters`.
const ADMIN_TOKEN: &str = "harness-admin";

/// Where `deploy/base` puts the operator, and what of it is about rights.
const OPERATOR_NAMESPACE: &str = "whimbrel-system";
const RIGHTS: [&str; 5] = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

/// What is sent to our own resources whole, the others by what they were; reads of the system itself not at all. Answers would
/// cost the server as much as a request.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ['system:apiserver']}
- {level: None, users: ['system:apiserver']}
- {level: Request, omitManagedFields: true, resources: [{group: whimbrel.dev}]}
- {level: Metadata}
";

/// A running API server with its etcd.
pub struct ApiServer {
    directory: PathBuf,
    port: u16,
    authority: String,
    _etcd: Process,
    server: Process,
}

/// The API server that the tests of this binary share, each with namespaces of its own; our CRDs are not yet in it
/// ([`ApiServer::install_crds`]).
///
/// # Errors
/// When it cannot be started.
pub async fn shared() -> Result<&'static ApiServer> {
    static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
    SHARED.get_or_try_init(ApiServer::start).await
}

/// The path of a Kubernetes program: from `KUBEBUILDER_ASSETS`, else from the cache that the set-up fills.
///
/// # Errors
/// When it was not built yet.
pub fn program(name: &str) -> Result<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let version = MODULE
        .lines()
        .find_map(|line| line.trim().strip_prefix("require k8s.io/kubernetes "))
        .context("tests/setup/kubernetes/go.mod names no version of k8s.io/kubernetes")?;
    let cached = cache()?.join(format!("kubernetes-{version}"));
    process::find(name, &assets.into_iter().chain([cached]).collect::<Vec<_>>(), REMEDY)
}

/// The directory that the set-up scripts build into.
fn cache() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("WHIMBREL_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("whimbrel")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/whimbrel")))
        .context("neither WHIMBREL_CACHE nor HOME is set")
}

impl ApiServer {
    /// Starts both; ready in two or three seconds.
    ///
    /// # Errors
    /// When a program is missing or does not become ready.
    pub async fn start() -> Result<Self> {
        init();
        let directory = scratch::directory("kubernetes")?;
        let authority = Authority::new("harness-ca")?;
        write_files(&directory, &authority)?;
        let (etcd, store) = start_etcd(&directory).await?;
        let port = ports::free()?;
        let server = Process::start(&api_server(&directory, &store, port)?)?;
        let mut started = Self { directory, port, authority: authority.certificate(), _etcd: etcd, server };
        started.await_ready().await?;
        Ok(started)
    }

    async fn await_ready(&mut self) -> Result<()> {
        let client = client_of(&self.kubeconfig(ADMIN_TOKEN)).await?;
        self.server
            .ready(READY, async || {
                let request = axum::http::Request::get("/readyz").body(Vec::new())?;
                client.request_text(request).await.map(drop).context("not ready")
            })
            .await
    }

    /// A client that may do everything.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn admin(&self) -> Result<Client> {
        client_of(&self.kubeconfig(ADMIN_TOKEN)).await
    }

    /// A client with the rights of a token.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn client(&self, token: &str) -> Result<Client> {
        client_of(&self.kubeconfig(token)).await
    }

    /// Where it listens, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig for the administrator.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn admin_kubeconfig(&self) -> Result<PathBuf> {
        self.write_kubeconfig("admin", ADMIN_TOKEN, self.port)
    }

    /// Writes a kubeconfig for a token; `port` is ours, or that of a proxy in front of us.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_kubeconfig(&self, name: &str, token: &str, port: u16) -> Result<PathBuf> {
        let mut content = self.kubeconfig(token);
        if let Some(server) = content.pointer_mut("/clusters/0/cluster/server") {
            *server = json!(format!("https://127.0.0.1:{port}"));
        }
        let path = self.directory.join(format!("{name}.kubeconfig"));
        // YAML is a superset of JSON.
        std::fs::write(&path, content.to_string())?;
        Ok(path)
    }

    fn kubeconfig(&self, token: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "harness",
            "clusters": [{"name": "harness", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": self.directory.join("ca.crt"),
            }}],
            "users": [{"name": "harness", "user": {"token": token}}],
            "contexts": [{"name": "harness", "context": {"cluster": "harness", "user": "harness"}}],
        })
    }

    /// The certificate of the authority that signed the server's, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A new namespace whose name begins with `prefix`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let created = Api::all(self.admin().await?).create(&PostParams::default(), &namespace).await?;
        Ok(created.name_any())
    }

    /// The token of a service account, which is created where it is not there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, namespace);
        if accounts.get_opt(name).await?.is_none() {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let account = ServiceAccount { metadata, ..ServiceAccount::default() };
            accounts.create(&PostParams::default(), &account).await?;
        }
        let spec = TokenRequestSpec {
            audiences: Some(vec!["https://kubernetes.default.svc".to_owned()]),
            expiration_seconds: Some(7200),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        answer.status.and_then(|status| status.token).context("the server answered without a token")
    }

    /// A kubeconfig with the rights that the chart gives to the operator, as its service account in `namespace`: the
    /// audit log tells what was used of them.
    ///
    /// # Errors
    /// When `deploy/base` is missing or refused.
    pub async fn operator_kubeconfig(&self, namespace: &str) -> Result<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/operator.yaml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.kubeconfig_of(&text.replace(OPERATOR_NAMESPACE, namespace), namespace).await
    }

    /// The same with the rights that a manifest gives to the service account in it; what else is in it is left out.
    ///
    /// # Errors
    /// When it has no service account, or is refused.
    pub async fn kubeconfig_of(&self, manifest: &str, namespace: &str) -> Result<PathBuf> {
        let mut rights = String::new();
        for document in serde_yaml::Deserializer::from_str(manifest) {
            let mut value: Value = serde::Deserialize::deserialize(document)?;
            let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            if !RIGHTS.contains(&kind.as_str()) {
                continue;
            }
            if kind == "ClusterRoleBinding" {
                // Each namespace binds its own account.
                if let Some(name) = value.pointer_mut("/metadata/name") {
                    *name = json!(format!("operator-{namespace}"));
                }
            }
            writeln!(rights, "---\n{value}")?;
        }
        let create = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        self.apply(&create.to_string(), None).await?;
        let applied = self.apply(&rights, Some(namespace)).await?;
        let account = applied.iter().find(|object| kind_of(object) == "ServiceAccount");
        let account = account.context("the manifest has no ServiceAccount")?.name_any();
        let token = self.service_account_token(namespace, &account).await?;
        self.write_kubeconfig(&format!("operator-{namespace}"), &token, self.port)
    }

    /// Installs every file of `crds/` and waits until they are served.
    ///
    /// # Errors
    /// When one is refused or not established.
    pub async fn install_crds(&self) -> Result<()> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&directory)? {
            let text = std::fs::read_to_string(entry?.path())?;
            names.extend(self.apply(&text, None).await?.iter().map(DynamicObject::name_any));
        }
        let api: Api<DynamicObject> = Api::all_with(self.admin().await?, &crd_resource());
        for name in names {
            await_until(&format!("{name} established"), READY, async || {
                let crd = api.get(&name).await?;
                let conditions = crd.data.pointer("/status/conditions").and_then(Value::as_array);
                let established = conditions.into_iter().flatten().any(|condition| {
                    condition.get("type") == Some(&json!("Established"))
                        && condition.get("status") == Some(&json!("True"))
                });
                established.then_some(()).with_context(|| format!("conditions: {conditions:?}"))
            })
            .await?;
        }
        Ok(())
    }

    /// Applies every document of a manifest as the administrator, and returns what the server stored.
    ///
    /// # Errors
    /// When a document is not understood or refused.
    pub async fn apply(&self, manifest: &str, namespace: Option<&str>) -> Result<Vec<DynamicObject>> {
        apply(self.admin().await?, manifest, namespace).await
    }

    /// Runs `kubectl` as the administrator and returns what it printed.
    ///
    /// # Errors
    /// When it fails: what it printed as the error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Spec::new("kubectl", program("kubectl")?, &self.directory)
            .env("KUBECONFIG", self.admin_kubeconfig()?)
            .args(arguments)
            .output()
    }

    /// The audit log so far, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn audit(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.directory.join("audit.log"))?;
        // The last line may be half written.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The audited requests of one user, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests_of(&self, user: &str) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.directory.join("audit.log"))?;
        // The log is long, and most of it is about others.
        let lines = text.lines().filter(|line| line.contains(user));
        let events = lines.filter_map(|line| serde_json::from_str(line).ok());
        Ok(events.filter(|event| field(event, "/user/username") == user).collect())
    }

    /// The audited requests that changed something, of one user, without Leases.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn writes_of(&self, user: &str) -> Result<Vec<Value>> {
        let mut events = self.requests_of(user)?;
        events.retain(|event| {
            !["get", "list", "watch"].contains(&field(event, "/verb"))
                && field(event, "/objectRef/resource") != "leases"
        });
        Ok(events)
    }
}

fn field<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

async fn client_of(kubeconfig: &Value) -> Result<Client> {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig.clone())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn write_files(directory: &Path, authority: &Authority) -> Result<()> {
    let write = |name: &str, content: &str| {
        std::fs::write(directory.join(name), content).with_context(|| format!("cannot write {name}"))
    };
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", "10.0.0.1"];
    let identity = authority.issue(&names)?;
    write("ca.crt", &authority.certificate())?;
    write("server.crt", &identity.certificate)?;
    write("server.key", &identity.key)?;
    let accounts = rcgen::KeyPair::generate()?;
    write("accounts.key", &accounts.serialize_pem())?;
    write("accounts.pub", &accounts.public_key_pem())?;
    write("tokens.csv", &format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n"))?;
    write("audit.yaml", AUDIT_POLICY)
}

/// Starts etcd; returns it with its client URL.
async fn start_etcd(directory: &Path) -> Result<(Process, String)> {
    let client = format!("http://127.0.0.1:{}", ports::free()?);
    let peer = format!("http://127.0.0.1:{}", ports::free()?);
    let etcd = process::find("etcd", &[], "tests/setup/packages.sh servers")?;
    let spec = Spec::new("etcd", etcd, directory)
        .args(["--unsafe-no-fsync", "--data-dir", "etcd", "--name", "harness"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("harness={peer}")]);
    let mut etcd = Process::start(&spec)?;
    let http = super::http_client()?;
    let health = format!("{client}/health");
    etcd.ready(READY, async || {
        http.get(&health).send().await?.error_for_status().map(drop).context("not healthy")
    })
    .await?;
    Ok((etcd, client))
}

fn api_server(directory: &Path, store: &str, port: u16) -> Result<Spec> {
    let port = port.to_string();
    Ok(Spec::new("kube-apiserver", program("kube-apiserver")?, directory)
        .args(["--etcd-servers", store, "--secure-port", &port])
        .args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"])
        .args(["--tls-cert-file", "server.crt", "--tls-private-key-file", "server.key"])
        .args(["--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC"])
        .args(["--service-account-issuer", "https://kubernetes.default.svc"])
        .args(["--service-account-signing-key-file", "accounts.key"])
        .args(["--service-account-key-file", "accounts.pub"])
        .args(["--service-cluster-ip-range", "10.0.0.0/24"])
        // Nobody makes the default service accounts that this plugin insists on.
        .args(["--disable-admission-plugins", "ServiceAccount"])
        .args([
            "--audit-policy-file",
            "audit.yaml",
            "--audit-log-path",
            "audit.log",
            // Never rotated: a test may look at all of it.
            "--audit-log-maxsize",
            "10000",
            "--audit-log-mode",
            "blocking",
        ]))
}
