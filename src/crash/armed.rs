//! What the environment asks of the points. Compiled with the feature `crash-points` only.
//!
//! `WHIMBREL_CRASH` has faults, with commas between them: `Site/Moment#n=action`, where `n` counts how often this process
//! passed the point, from 1. The actions are `kill` (SIGKILL, nothing unwinds), `stop` (SIGSTOP), `panic`, and `wait`: the
//! harness is asked at the Unix socket `WHIMBREL_CRASH_SOCKET`, and the point is passed when it answered.
//! `WHIMBREL_CRASH_LOG` is a file to which each point that is passed is appended, with a `!` before those that act.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Moment, Site};

/// How long a request is left alone before something happens in the middle of it.
const EXECUTING: Duration = Duration::from_millis(4);
/// The same for one that should have come to its end in the server.
const COMMITTED: Duration = Duration::from_millis(25);

/// A point, spelled `Site/Moment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Point(Site, Moment);

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.0, self.1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Panic,
    Wait,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    point: String,
    hit: u32,
    action: Action,
}

static FAULTS: LazyLock<Vec<Fault>> =
    LazyLock::new(|| std::env::var("WHIMBREL_CRASH").map(|text| parse(&text)).unwrap_or_default());
static LOG: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let path = std::env::var_os("WHIMBREL_CRASH_LOG")?;
    OpenOptions::new().append(true).create(true).open(path).ok().map(Mutex::new)
});
static HITS: LazyLock<Mutex<HashMap<Point, u32>>> = LazyLock::new(Mutex::default);

/// Passes a point.
pub async fn at(site: Site, moment: Moment) {
    if let Some((point, fault)) = hit(site, moment) {
        act(point, &fault).await;
    }
}

/// Passes a point in the middle of a request: it is on its way, and its answer was not looked at.
pub async fn during<F: Future>(site: Site, moment: Moment, request: F) -> F::Output {
    let Some((point, fault)) = hit(site, moment) else {
        return request.await;
    };
    tokio::pin!(request);
    // The first poll sends it.
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(request.as_mut().poll(context))).await;
    let pause = if moment == Moment::CommittedNotAcknowledged { COMMITTED } else { EXECUTING };
    tokio::time::sleep(pause).await;
    act(point, &fault).await;
    match first {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => request.await,
    }
}

/// Counts a point that is passed, and returns the fault that is due there.
fn hit(site: Site, moment: Moment) -> Option<(Point, Fault)> {
    debug_assert!(site.moments().contains(&moment), "{site:?} has no point {moment:?}");
    let point = Point(site, moment);
    let count = {
        let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = hits.entry(point).or_insert(0);
        *count += 1;
        *count
    };
    let name = point.to_string();
    let fault = FAULTS.iter().find(|fault| fault.point == name && fault.hit == count).cloned();
    if let Some(log) = LOG.as_ref() {
        let mark = if fault.is_some() { "!" } else { "" };
        let mut file = log.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that is lost makes the run invalid, and nothing else.
        let _ = file.write_all(format!("{mark}{point}#{count}\n").as_bytes());
    }
    fault.map(|fault| (point, fault))
}

#[expect(clippy::panic, reason = "a panic is one of the faults")]
async fn act(point: Point, fault: &Fault) {
    match fault.action {
        Action::Kill => signal(Signal::SIGKILL).await,
        Action::Stop => signal(Signal::SIGSTOP).await,
        Action::Panic => panic!("at the point {point}"),
        Action::Wait => {
            if let Err(error) = ask(point, fault.hit).await {
                panic!("the harness does not answer at {point}: {error}");
            }
        }
    }
}

async fn signal(signal: Signal) {
    // A signal to ourselves cannot fail; that it is delivered may take a moment.
    let _ = kill(Pid::this(), signal);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Tells the harness where we are, and waits for its answer.
async fn ask(point: Point, hit: u32) -> std::io::Result<()> {
    let path = std::env::var_os("WHIMBREL_CRASH_SOCKET").unwrap_or_default();
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(format!("{point}#{hit} {}\n", std::process::id()).as_bytes()).await?;
    stream.read_u8().await.map(|_| ())
}

/// Reads the faults; what is not understood is left out, so that the fault does not fire and the run is invalid.
fn parse(text: &str) -> Vec<Fault> {
    let one = |text: &str| {
        let (place, action) = text.split_once('=')?;
        let (point, hit) = place.split_once('#')?;
        let action = match action {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "panic" => Action::Panic,
            "wait" => Action::Wait,
            _ => return None,
        };
        Some(Fault { point: point.to_owned(), hit: hit.parse().ok()?, action })
    };
    text.split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_the_environment() {
        let check = |text: &str, expected: &[(&str, u32, Action)]| {
            let expected: Vec<Fault> = expected
                .iter()
                .map(|(point, hit, action)| Fault { point: (*point).to_owned(), hit: *hit, action: *action })
                .collect();
            assert_eq!(parse(text), expected, "{text}");
        };
        check("", &[]);
        check("UnitUp/Sent#2=kill", &[("UnitUp/Sent", 2, Action::Kill)]);
        check(
            "UnitUp/Sent#1=stop,AloneUp/Executing#3=wait",
            &[("UnitUp/Sent", 1, Action::Stop), ("AloneUp/Executing", 3, Action::Wait)],
        );
        check("UnitUp/Sent=kill,UnitUp/Sent#x=kill,UnitUp/Sent#1=dance", &[]);
    }
}
