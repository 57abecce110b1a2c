//! A broker process is killed at random moments; whatever it confirmed must be there afterwards, once and in order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrocti_broker::Queues;
use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use tempfile::TempDir;

use crate::harness::{publish_with, queue_options, try_connect};

const PUBLISHERS: u32 = 4;

/// `FERROCTI_TEST_CRASH_ROUNDS` sets how often the process is killed; 10 times when it is not set.
fn rounds() -> u32 {
    std::env::var("FERROCTI_TEST_CRASH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(10)
}

/// The example `standalone`, which cargo builds together with the tests.
fn standalone() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join("standalone");
    assert!(
        program.exists(),
        "{} is missing; run the tests of the whole package, which builds its examples",
        program.display()
    );
    program
}

struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(standalone())
            .arg(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("unexpected output {line:?}"));
        let url = format!("amqp://guest:guest@{address}/%2f");
        Self { child, url }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // after a failed assertion; an error means that it has ended already
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a publisher knows: the number it sent last, and all numbers that were confirmed.
#[derive(Default)]
struct Progress {
    sent: AtomicU32,
    confirmed: Mutex<Vec<u32>>,
}

/// Publishes numbers one by one, each after the confirm of the one before, until the broker is gone.
async fn publish_until_gone(url: String, publisher: u32, progress: Arc<Progress>) {
    let Ok(connection) = try_connect(&url).await else {
        return;
    };
    // the broker may be killed at any moment from here on
    let Ok(channel) = connection.create_channel().await else {
        return;
    };
    let select = ConfirmSelectOptions::default();
    if channel.confirm_select(select).await.is_err() {
        return;
    }
    loop {
        let number = progress.sent.load(Ordering::SeqCst) + 1;
        progress.sent.store(number, Ordering::SeqCst);
        // sizes vary, so that commits hold anything between a page and many
        let mut body = format!("{publisher}:{number}:").into_bytes();
        body.resize(body.len() + (number as usize * 37) % 5000, b'x');
        let options = BasicPublishOptions::default();
        match publish_with(
            &channel,
            "amqp.worker.exchange",
            "push_routing_c1",
            &body,
            options,
            Default::default(),
        )
        .await
        {
            Ok(Confirmation::Ack(_)) => progress.confirmed.lock().unwrap().push(number),
            _ => return,
        }
    }
}

/// The numbers of each publisher in the order of the queue.
fn read_back(directory: &Path) -> BTreeMap<u32, Vec<u32>> {
    let queues = Queues::open(directory.join("queue.db"), queue_options()).unwrap();
    assert_eq!(queues.check().unwrap(), Vec::<String>::new());
    let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let messages = queues.fetch("push_c1", 0, usize::MAX, u64::MAX).unwrap();
    assert_eq!(
        queues.depth("push_c1").unwrap().messages,
        messages.len() as u64
    );
    for message in messages {
        let text = std::str::from_utf8(&message.body).unwrap();
        let mut parts = text.split(':').map(|part| part.parse().unwrap_or_default());
        found
            .entry(parts.next().unwrap())
            .or_default()
            .push(parts.next().unwrap());
    }
    found
}

#[test]
fn what_was_confirmed_survives_kills_once_and_in_order() {
    let dir = TempDir::new().unwrap();
    let progress: Vec<Arc<Progress>> = (0..PUBLISHERS).map(|_| Arc::default()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    for round in 0..rounds() {
        let process = Process::start(dir.path());
        runtime.block_on(async {
            let publishers: Vec<_> = progress
                .iter()
                .enumerate()
                .map(|(publisher, progress)| {
                    let publisher = u32::try_from(publisher).unwrap();
                    tokio::spawn(publish_until_gone(
                        process.url.clone(),
                        publisher,
                        Arc::clone(progress),
                    ))
                })
                .collect();
            // a moment that differs from round to round: in the handshake, in a commit, between commits
            tokio::time::sleep(Duration::from_millis(u64::from((round * 97) % 331) + 20)).await;
            process.kill();
            for publisher in publishers {
                publisher.await.unwrap();
            }
        });
        let found = read_back(dir.path());
        for (publisher, progress) in progress.iter().enumerate() {
            let numbers = found
                .get(&u32::try_from(publisher).unwrap())
                .cloned()
                .unwrap_or_default();
            assert!(
                numbers.windows(2).all(|pair| pair[0] < pair[1]),
                "round {round}: publisher {publisher} is out of order or twice"
            );
            let sent = progress.sent.load(Ordering::SeqCst);
            assert!(numbers.last().is_none_or(|last| *last <= sent));
            // one that was sent and not confirmed may be there or not; all others must
            let confirmed = progress.confirmed.lock().unwrap();
            let lost: Vec<u32> = confirmed
                .iter()
                .copied()
                .filter(|number| numbers.binary_search(number).is_err())
                .collect();
            assert!(
                lost.is_empty(),
                "round {round}: publisher {publisher} lost confirmed messages {lost:?}"
            );
        }
    }
    let confirmed: usize = progress
        .iter()
        .map(|progress| progress.confirmed.lock().unwrap().len())
        .sum();
    assert!(
        confirmed > (rounds() * PUBLISHERS) as usize,
        "too little was published to mean anything: {confirmed}"
    );
    println!("{confirmed} confirmed messages survived {} kills", rounds());
}
