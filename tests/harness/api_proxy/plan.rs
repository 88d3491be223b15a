//! What is asked of the API server, and what is to happen to it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Method, Request};

/// What happens at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// 409, once: somebody else wrote in between.
    Conflict,
    /// 429 with `Retry-After`, to everything for a while.
    TooMany,
    /// 503, to everything for a while.
    Unavailable,
    /// 500, once.
    Broken,
    /// The server does what is asked, and its answer is lost with the connection.
    LostReply,
    /// The answer ends in its middle.
    Truncated,
    /// All connections are reset, and new ones for a while, before anything is forwarded.
    Reset,
    /// All watches are told that they are too old.
    Expired,
    /// The same, and the lists that follow are those of the beginning for a while.
    Stale,
    /// Everything takes its time for a while.
    Slow,
    /// Nothing is answered for a while, and nothing arrives.
    BlackHole,
    /// The server does what is asked; whoever asked is killed by the harness, and hears nothing.
    Kill,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Conflict,
        Self::TooMany,
        Self::Unavailable,
        Self::Broken,
        Self::LostReply,
        Self::Truncated,
        Self::Reset,
        Self::Expired,
        Self::Stale,
        Self::Slow,
        Self::BlackHole,
        Self::Kill,
    ];

    /// How long it goes on after the request at which it began; zero means that request alone.
    pub fn lasts(self) -> Duration {
        match self {
            Self::TooMany | Self::Unavailable => Duration::from_secs(2),
            Self::Reset => Duration::from_secs(1),
            Self::Stale => Duration::from_millis(1500),
            Self::Slow => Duration::from_secs(3),
            // Longer than a leader may go on without having renewed its Lease.
            Self::BlackHole => Duration::from_secs(7),
            Self::Conflict
            | Self::Broken
            | Self::LostReply
            | Self::Truncated
            | Self::Expired
            | Self::Kill => Duration::ZERO,
        }
    }
}

/// A request, as the harness speaks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Such as `patch/migrations/status`.
    pub what: String,
    /// Whether it would change something.
    pub writes: bool,
    /// Whether it is a watch.
    pub watches: bool,
    /// Whether it lists.
    pub lists: bool,
}

impl Asked {
    /// Names a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        let path: Vec<&str> = request.uri().path().split('/').filter(|part| !part.is_empty()).collect();
        let rest = match path.first() {
            Some(&"api") => path.get(2..),
            Some(&"apis") => path.get(3..),
            _ => None,
        };
        let rest = match rest.unwrap_or_default() {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let (resource, name) = (rest.first().copied().unwrap_or("other"), rest.get(1));
        let asks = |word: &str| request.uri().query().unwrap_or_default().contains(word);
        let verb = match *request.method() {
            Method::GET if asks("watch=true") => "watch",
            Method::GET if name.is_none() => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        let part = rest.get(2).map(|part| format!("/{part}")).unwrap_or_default();
        Self {
            what: format!("{verb}/{resource}{part}"),
            writes: request.method() != Method::GET,
            watches: verb == "watch",
            lists: verb == "list",
        }
    }

    /// Whether it is about leadership, which goes on while nothing happens.
    pub fn is_about_leases(&self) -> bool {
        self.what.contains("/leases")
    }
}

/// What was asked so far, and what is to happen at one of the requests.
#[derive(Default)]
pub struct Plan {
    /// At which request, as `patch/migrations/status#2`, and what.
    pub due: Option<(String, Fault)>,
    /// When it came to that.
    pub began: Option<Instant>,
    /// Whether the fault was felt by somebody.
    pub fired: bool,
    /// The requests in their order, each as `get/migrations#1`, without those about leadership beyond the first ones.
    pub asked: Vec<String>,
    /// How many of them would change something, without those about leadership.
    pub writes: usize,
    /// When something other than a watch or leadership was asked last.
    pub last: Option<Instant>,
    /// The first answer to each list.
    pub lists: HashMap<String, Bytes>,
    counts: BTreeMap<String, u32>,
}

/// Renewals beyond these differ in nothing.
const RENEWALS: u32 = 3;

impl Plan {
    /// Nothing was asked yet.
    pub fn new(due: Option<(String, Fault)>) -> Self {
        Self { due, ..Self::default() }
    }

    /// Counts a request, and returns what happens to it.
    pub fn pass(&mut self, asked: &Asked) -> Option<Fault> {
        let count = self.counts.entry(asked.what.clone()).or_insert(0);
        *count += 1;
        let place = format!("{}#{count}", asked.what);
        let leases = asked.is_about_leases();
        if !leases {
            self.writes += usize::from(asked.writes);
        }
        if !leases && !asked.watches {
            self.last = Some(Instant::now());
        }
        let (point, fault) = self.due.clone().unwrap_or((String::new(), Fault::Kill));
        let due = point == place && self.began.is_none();
        if !leases || *count <= RENEWALS {
            self.asked.push(place);
        }
        if due {
            self.began = Some(Instant::now());
            // Those are felt when a watch is told of it, or a list.
            self.fired = !matches!(fault, Fault::Expired | Fault::Stale);
            return Some(fault);
        }
        let goes_on = self.began.is_some_and(|began| began.elapsed() < fault.lasts());
        goes_on.then_some(fault)
    }

    /// The first answer to a list, for one who shall believe in it.
    pub fn old_list(&mut self, path: &str) -> Option<Bytes> {
        let old = self.lists.get(path).cloned();
        self.fired |= old.is_some();
        old
    }

    /// A watch was told that it is too old.
    pub fn watch_told(&mut self) {
        self.fired |= matches!(self.due, Some((_, Fault::Expired)));
    }

    /// Until when it goes on.
    pub fn until(&self) -> Instant {
        let lasts = self.due.as_ref().map_or(Duration::ZERO, |(_, fault)| fault.lasts());
        self.began.unwrap_or_else(Instant::now) + lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_names() {
        let check = |method: &str, uri: &str, expected: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
            assert_eq!(Asked::of(&request).what, expected, "{method} {uri}");
        };
        let group = "/apis/whimbrel.dev/v1alpha1";
        check("GET", &format!("{group}/namespaces/shop/migrations?limit=500"), "list/migrations");
        check("GET", &format!("{group}/namespaces/shop/migrations?watch=true"), "watch/migrations");
        check("GET", &format!("{group}/namespaces/shop/migrations/one"), "get/migrations");
        check("GET", &format!("{group}/migrations"), "list/migrations");
        check(
            "PATCH",
            &format!("{group}/namespaces/shop/migrations/one/status?force"),
            "patch/migrations/status",
        );
        check("GET", "/api/v1/namespaces/shop/secrets/shop", "get/secrets");
        check("GET", "/api/v1/namespaces/shop", "get/namespaces");
        check("PUT", "/apis/coordination.k8s.io/v1/namespaces/shop/leases/whimbrel", "update/leases");
        check("GET", "/version", "list/other");
    }
}
