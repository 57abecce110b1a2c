//! Both protocols against a server that answers as it is told: recorded answers, and all that can go wrong on the way.

mod faults;
mod ferrocti;
mod opencti;
mod script;

use std::time::Duration;

use ferrocti_composer::{
    Current, State,
    platform::{Access, Health, Logs, Registration, Report, Reported},
};
use script::Server;

const TOKEN: &str = "flgrn_octi_tkn_0123456789abcdef0123456789abcdef";

fn access(server: &Server) -> Access {
    Access {
        patience: Duration::from_secs(5),
        ..Access::new(&server.url, TOKEN)
    }
}

fn me() -> Registration {
    Registration {
        id: "site-a".to_owned(),
        name: "Site A".to_owned(),
        public_key: "-----BEGIN RSA PUBLIC KEY-----".to_owned(),
        version: "0.1.0".to_owned(),
        orchestrators: vec!["process".to_owned()],
    }
}

fn running(id: &str) -> Reported {
    Reported {
        id: id.to_owned(),
        hash: "0a1b2c3d".to_owned(),
        state: State::Running,
        reason: "it runs".to_owned(),
        current: Some(Current::Started),
        rejected: None,
        changed: true,
        health: None,
        logs: None,
    }
}

fn report(connectors: Vec<Reported>) -> Report {
    Report {
        connectors,
        ..Report::default()
    }
}

fn logs(lines: &[&str], cursor: &str) -> Logs {
    Logs {
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        cursor: cursor.to_owned(),
    }
}

const HEALTH: Health = Health {
    started_at: Some(1_700_000_000_000),
    restarts: 2,
    crash_looping: false,
    memory: Some(52_428_800),
};
