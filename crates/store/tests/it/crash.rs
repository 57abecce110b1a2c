//! A process that is killed: what it had confirmed is there, what it had not is there whole or not at all.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use ferrocti_model::clock::ManualClock;
use serde_json::json;

use crate::support::{Open, Sample, kind, stix_id};

/// Set for the process that is to be killed: the directory of its store.
const CHILD: &str = "FERROCTI_STORE_CRASH_DIR";
const ROUNDS: u64 = 6;

/// Writes and confirms on standard output until it is killed.
fn child(open: Open, dir: &Path) {
    let store = open(dir, Arc::new(ManualClock::at(1_700_000_000_000))).unwrap();
    let mut next = store
        .read(|s| s.setting("last"))
        .unwrap()
        .and_then(|last| last.as_u64())
        .unwrap_or(0);
    loop {
        next += 1;
        store
            .write(|tx| {
                Sample::named("Malware", next * 2, "first").insert(tx)?;
                Sample::named("Malware", next * 2 + 1, "second").insert(tx)?;
                tx.put_setting("last", &json!(next))
            })
            .unwrap();
        println!("confirmed {next}");
        std::io::stdout().flush().unwrap();
    }
}

/// The name under which this test can be run alone.
fn own_name() -> String {
    let named = std::thread::current()
        .name()
        .filter(|name| name.contains("::"))
        .map(str::to_owned);
    named
        .or_else(|| std::env::args().find(|argument| argument.contains("::")))
        .unwrap()
}

pub fn killed_process_loses_nothing_confirmed(open: Open) {
    if let Some(dir) = std::env::var_os(CHILD) {
        return child(open, &PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let name = own_name();
    let mut at_least = 0;
    for round in 0..ROUNDS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                name.as_str(),
                "--exact",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut confirmed = || {
            lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(|line| line.strip_prefix("confirmed ")?.parse::<u64>().ok())
        };
        for _ in 0..20 + round * 17 {
            at_least = confirmed().expect("the process works until it is killed");
        }
        process.kill().unwrap();
        process.wait().unwrap();
        while let Some(last) = confirmed() {
            at_least = last;
        }
        let store = open(dir.path(), Arc::new(ManualClock::at(1_700_000_000_000))).unwrap();
        let last = store
            .read(|s| s.setting("last"))
            .unwrap()
            .unwrap()
            .as_u64()
            .unwrap();
        assert!(
            last == at_least || last == at_least + 1,
            "{last} is stored, {at_least} were confirmed"
        );
        let keys: Vec<_> = (2..=last * 2 + 3)
            .map(|n| stix_id(kind("Malware"), n).key())
            .collect();
        let found = store.read(|s| s.resolve(&keys)).unwrap();
        let whole = usize::try_from(last * 2).unwrap();
        assert!(found[..whole].iter().all(Option::is_some));
        assert!(found[whole..].iter().all(Option::is_none));
        assert_eq!(store.check().unwrap(), vec![]);
    }
}
