//! Free TCP ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below the ephemeral range, so that no outgoing connection takes a port between choosing and using it.
const FIRST: u32 = 17_000;
const COUNT: u32 = 15_000;

static OFFSET: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on and that this process has not handed out before.
///
/// # Errors
/// When every port of the range is in use.
pub fn free() -> Result<u16> {
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(OFFSET.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
