//! A TCP proxy that breaks connections the ways a network does.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to every byte that arrives from now on, on open and on new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It passes.
    Forward,
    /// It passes later.
    Delay(Duration),
    /// It disappears; connections stay open.
    BlackHole,
    /// All connections are reset at once; new ones as soon as they are made.
    Reset,
    /// Requests pass; the first answer disappears and its connection is reset: the lost acknowledgement.
    DropReply,
}

/// A running proxy; ends with its value.
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
    dropped: Arc<AtomicU64>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// Forwards to a port of `127.0.0.1`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (mode, receiver) = watch::channel(Mode::Forward);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        let target = Arc::new(AtomicU16::new(target));
        let current = target.clone();
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(
                    client,
                    current.load(Ordering::SeqCst),
                    receiver.clone(),
                    counter.clone(),
                ));
            }
        });
        Ok(Self { port, target, mode, dropped, listener })
    }

    /// Where it listens, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forwards new connections to another port of `127.0.0.1`, as a name that names another server now.
    pub fn retarget(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// Changes what happens from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many answers [`Mode::DropReply`] has swallowed: that the planned fault did fire.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Reset);
        self.listener.abort();
    }
}

async fn connection(client: TcpStream, target: u16, mode: watch::Receiver<Mode>, dropped: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (upwards, downwards) = (mode.clone(), mode);
    let requests = pump(from_client, to_server, upwards, None);
    let answers = pump(from_server, to_client, downwards, Some(dropped));
    // One direction that ended takes the other with it, as servers and clients of databases close both.
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}

/// Copies one direction until it ends; both ends are reset where the mode wants that.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    dropped: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if *mode.borrow_and_update() == Mode::Reset {
            break;
        }
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => count,
                // That an end is gone is not heard through a black hole either.
                _ if *mode.borrow() == Mode::BlackHole => match mode.changed().await {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ => return,
            },
            changed = mode.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
        };
        let current = *mode.borrow();
        match (current, &dropped) {
            (Mode::BlackHole, _) => continue,
            (Mode::Reset, _) => break,
            (Mode::DropReply, Some(dropped)) => {
                dropped.fetch_add(1, Ordering::SeqCst);
                break;
            }
            (Mode::Delay(delay), _) => tokio::time::sleep(delay).await,
            (Mode::Forward | Mode::DropReply, _) => {}
        }
        if to.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
    // Closed with zero linger means reset.
    let _ = (from.as_ref().set_zero_linger(), to.as_ref().set_zero_linger());
}
