//! A broker process of its own, for tests and benchmarks: one queue file, one listener, everybody may do everything.
//!
//! `standalone DIRECTORY [PORT]` prints `listening on ADDRESS` and runs until SIGTERM or SIGINT, or until it is killed.
//! The login is `guest` with password `guest`; `c1` with password `c1` is the connector of that id.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrocti_broker::{Authenticator, Listener, ListenerOptions, Options, Principal, Queues};
use tokio::signal::unix::{SignalKind, signal};

struct Everybody;

impl Authenticator for Everybody {
    fn authenticate(&self, user: &str, password: &str, _peer: SocketAddr) -> Option<Principal> {
        match (user, password) {
            ("guest", "guest") => Some(Principal::platform()),
            ("c1", "c1") => Some(Principal::connector("c1")),
            _ => None,
        }
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = PathBuf::from(
        arguments
            .next()
            .ok_or("usage: standalone DIRECTORY [PORT]")?,
    );
    let port: u16 = match arguments.next() {
        Some(port) => port.to_string_lossy().parse()?,
        None => 0,
    };
    std::fs::create_dir_all(&directory)?;
    let queues = Queues::open(directory.join("queue.db"), Options::new(Arc::new(now_ms)))?;
    queues.declare_connector("c1", bytes::Bytes::new()).await?;
    let options = ListenerOptions::new(SocketAddr::from(([127, 0, 0, 1], port)));
    let listener = Listener::bind(options, queues.clone(), Arc::new(Everybody)).await?;
    println!("listening on {}", listener.local_addr());
    std::io::stdout().flush()?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    listener.shutdown(Duration::from_secs(5)).await;
    let stats = queues.stats();
    eprintln!(
        "{} messages, {} operations in {} commits, largest group {}",
        stats.published, stats.committed_ops, stats.commits, stats.largest_group
    );
    queues.close();
    Ok(())
}
