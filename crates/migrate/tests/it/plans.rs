//! Plans: each fact has its finding, a plan has a hash over what it rests on, and nothing that is shown has a secret in it.

use std::collections::BTreeSet;

use ferrocti_catalog::Secret;
use ferrocti_migrate::{
    compose::{NotCarried, Place, Told},
    map::{Change, Choices, Difference, Mapping, map},
    plan::{
        ContractFacts, Facts, Level, Material, Mounted, Passing, Plan, Registered, Running, RunsAs,
        Target, User, WaitFor, plan, quiesce, replay,
    },
};

use crate::mapping::{WHOLE, contract, found};

const NOW: i64 = 1_000_000_000;

/// A connector that can be migrated without a word.
pub(crate) fn facts() -> Facts {
    Facts {
        connector: Registered {
            id: "c1".to_owned(),
            name: "My feed".to_owned(),
            connector_type: "EXTERNAL_IMPORT".to_owned(),
            scope: vec!["feed".to_owned()],
            version: Some("1.0".to_owned()),
            managed: false,
        },
        user: User {
            id: "u1".to_owned(),
            name: "feed".to_owned(),
            let_in: true,
            service_account: true,
            ..User::default()
        },
        contract: Some(ContractFacts {
            slug: "feed".to_owned(),
            version: "1.0".to_owned(),
            connector_type: "EXTERNAL_IMPORT".to_owned(),
            supported: true,
            compatible: true,
        }),
        running: Running {
            runs_as: RunsAs::Container,
            reached_by: Some("here".to_owned()),
            host: Some("host".to_owned()),
            image: Some("example/connector-feed:1.0".to_owned()),
            digest: Some("sha256:ab".to_owned()),
            replicas: 1,
            says_id: Some("c1".to_owned()),
            ..Running::default()
        },
        target: Target {
            composer: Some("here".to_owned()),
            host: Some("host".to_owned()),
            orchestrators: vec!["docker".to_owned()],
            has_key: true,
            ..Target::default()
        },
        passing: Passing {
            now: NOW,
            composer_alive: true,
            live: true,
            last_ping: Some(NOW - 1000),
            instances: vec!["10.0.0.1".to_owned()],
            state_hash: Some("s".to_owned()),
            state_at: Some(NOW - 60_000),
            last_run: Some(NOW - 60_000),
            next_run: Some(NOW + 60_000),
            ..Passing::default()
        },
    }
}

pub(crate) struct Case {
    pub(crate) facts: Facts,
    mapping: Mapping,
    differences: Vec<Difference>,
    not_carried: Vec<NotCarried>,
    faults: Vec<Told>,
    waived: BTreeSet<String>,
    key: [u8; 32],
}

impl Case {
    fn new() -> Self {
        Self {
            facts: facts(),
            mapping: map(&found(WHOLE), Some(&contract()), &Choices::default()),
            differences: Vec::new(),
            not_carried: Vec::new(),
            faults: Vec::new(),
            waived: BTreeSet::new(),
            key: [7; 32],
        }
    }

    pub(crate) fn environment(&mut self, more: &[(&str, &str)]) {
        let mut all = found(WHOLE);
        all.extend(found(more));
        self.mapping = map(&all, Some(&contract()), &Choices::default());
    }

    fn plan(&self) -> Plan {
        plan(
            &self.facts,
            &Material {
                mapping: &self.mapping,
                differences: &self.differences,
                not_carried: &self.not_carried,
                faults: &self.faults,
                remarks: &[],
                waived: &self.waived,
                fingerprint_key: &self.key,
            },
        )
    }
}

pub(crate) fn of(change: impl FnOnce(&mut Case)) -> Plan {
    let mut case = Case::new();
    change(&mut case);
    case.plan()
}

fn place() -> Place {
    Place {
        file: "docker-compose.yml".to_owned(),
        line: 3,
    }
}

#[test]
fn a_connector_without_peculiarities_has_no_warnings() {
    let plan = of(|_| {});
    assert!(plan.applicable);
    assert!(plan.findings.is_empty(), "{plan}");
}

#[test]
fn each_fact_has_its_finding() {
    use Level::{Blocker, Note, Warning};
    let mount = |source: Option<&str>, allowed| Mounted {
        source: source.map(str::to_owned),
        target: "/data".to_owned(),
        read_only: false,
        allowed,
    };
    type Make = Box<dyn Fn(&mut Case)>;
    let cases: Vec<(&str, Level, Make)> = vec![
        (
            "already-managed",
            Blocker,
            Box::new(|c| c.facts.connector.managed = true),
        ),
        (
            "locked",
            Blocker,
            Box::new(|c| c.facts.passing.locked_by = Some("m2".to_owned())),
        ),
        (
            "type-unknown",
            Blocker,
            Box::new(|c| c.facts.connector.connector_type = "X".to_owned()),
        ),
        (
            "other-id",
            Blocker,
            Box::new(|c| c.facts.running.says_id = Some("c2".to_owned())),
        ),
        (
            "id-not-said",
            Note,
            Box::new(|c| c.facts.running.says_id = None),
        ),
        ("no-contract", Note, Box::new(|c| c.facts.contract = None)),
        (
            "type-differs",
            Blocker,
            Box::new(|c| c.facts.connector.connector_type = "STREAM".to_owned()),
        ),
        (
            "not-supported",
            Warning,
            Box::new(|c| c.facts.contract.as_mut().unwrap().supported = false),
        ),
        (
            "not-compatible",
            Warning,
            Box::new(|c| c.facts.contract.as_mut().unwrap().compatible = false),
        ),
        (
            "other-version",
            Note,
            Box::new(|c| c.facts.connector.version = Some("0.9".to_owned())),
        ),
        (
            "user-not-let-in",
            Blocker,
            Box::new(|c| c.facts.user.let_in = false),
        ),
        (
            "user-bootstrap",
            Warning,
            Box::new(|c| c.facts.user.bootstrap = true),
        ),
        (
            "user-privileged",
            Warning,
            Box::new(|c| c.facts.user.privileges = vec!["BYPASS".to_owned()]),
        ),
        (
            "user-human",
            Warning,
            Box::new(|c| c.facts.user.human = true),
        ),
        (
            "user-shared",
            Warning,
            Box::new(|c| c.facts.user.shared_by = vec!["workers".to_owned()]),
        ),
        (
            "token-shared",
            Warning,
            Box::new(|c| c.facts.user.token_shared_by = vec!["c9".to_owned()]),
        ),
        (
            "nothing-to-start",
            Blocker,
            Box::new(|c| c.facts.running.image = None),
        ),
        (
            "digest-unknown",
            Warning,
            Box::new(|c| c.facts.running.digest = None),
        ),
        (
            "out-of-reach",
            Warning,
            Box::new(|c| c.facts.running.reached_by = None),
        ),
        (
            "restarts",
            Note,
            Box::new(|c| {
                c.facts.running.reached_by = None;
                c.facts.running.restart = Some("always".to_owned());
            }),
        ),
        (
            "replicas",
            Warning,
            Box::new(|c| c.facts.running.replicas = 2),
        ),
        (
            "other-broker",
            Blocker,
            Box::new(|c| c.facts.running.other_broker = true),
        ),
        (
            "network-mode",
            Warning,
            Box::new(|c| c.facts.running.network_mode = Some("host".to_owned())),
        ),
        (
            "volume-without-name",
            Blocker,
            Box::new(move |c| c.facts.running.mounts = vec![mount(None, true)]),
        ),
        (
            "mount-elsewhere",
            Blocker,
            Box::new(move |c| {
                c.facts.running.mounts = vec![mount(Some("/srv"), true)];
                c.facts.target.host = Some("other".to_owned());
            }),
        ),
        (
            "mount-not-allowed",
            Blocker,
            Box::new(move |c| c.facts.running.mounts = vec![mount(Some("/srv"), false)]),
        ),
        (
            "mount",
            Note,
            Box::new(move |c| c.facts.running.mounts = vec![mount(Some("/srv"), true)]),
        ),
        (
            "no-composer",
            Blocker,
            Box::new(|c| c.facts.target.composer = None),
        ),
        (
            "composer-away",
            Blocker,
            Box::new(|c| c.facts.passing.composer_alive = false),
        ),
        (
            "no-key",
            Blocker,
            Box::new(|c| c.facts.target.has_key = false),
        ),
        (
            "cannot-run",
            Blocker,
            Box::new(|c| c.facts.target.orchestrators.clear()),
        ),
        (
            "refused-by-composer",
            Blocker,
            Box::new(|c| c.facts.target.refused = Some("no".to_owned())),
        ),
        (
            "network-missing",
            Blocker,
            Box::new(|c| c.facts.target.missing_networks = vec!["n".to_owned()]),
        ),
        (
            "file",
            Blocker,
            Box::new(|c| {
                c.faults = vec![Told {
                    at: place(),
                    service: None,
                    reason: "x".to_owned(),
                    remedy: "y".to_owned(),
                }];
            }),
        ),
        (
            "not-carried-over",
            Warning,
            Box::new(|c| {
                c.not_carried = vec![NotCarried {
                    key: "user".to_owned(),
                    at: place(),
                    reason: "z",
                    matters: true,
                }];
            }),
        ),
        (
            "value-missing",
            Blocker,
            Box::new(|c| c.environment(&[("FEED_API_KEY", "ChangeMe")])),
        ),
        (
            "value-invalid",
            Blocker,
            Box::new(|c| c.environment(&[("FEED_LIMIT", "many")])),
        ),
        (
            "renamed",
            Blocker,
            Box::new(|c| c.environment(&[("FEED_INTERVAL", "5")])),
        ),
        (
            "renamed",
            Note,
            Box::new(|c| c.environment(&[("FEED_OLD_TITLE", "t")])),
        ),
        (
            "key-unknown",
            Note,
            Box::new(|c| c.environment(&[("OWN", "t")])),
        ),
        (
            "value-suggested",
            Note,
            Box::new(|c| c.environment(&[("FEED_VERIFY", "True")])),
        ),
        (
            "value-suggested",
            Warning,
            Box::new(|c| c.environment(&[("FEED_TITLE", "\"t\"")])),
        ),
        (
            "environment-differs",
            Blocker,
            Box::new(|c| {
                c.differences = vec![Difference {
                    key: "X".to_owned(),
                    change: Change::Removed,
                    reason: None,
                }];
            }),
        ),
        (
            "not-running",
            Warning,
            Box::new(|c| c.facts.passing.live = false),
        ),
        (
            "several-instances",
            Warning,
            Box::new(|c| c.facts.passing.instances = vec!["a".to_owned(), "b".to_owned()]),
        ),
        (
            "no-state",
            Note,
            Box::new(|c| c.facts.passing.state_hash = None),
        ),
        ("queues", Note, Box::new(|c| c.facts.passing.push_queue = 4)),
        (
            "works",
            Note,
            Box::new(|c| c.facts.passing.running_works = 4),
        ),
        (
            "buffering",
            Warning,
            Box::new(|c| c.facts.passing.buffering = true),
        ),
        (
            "no-schedule",
            Warning,
            Box::new(|c| c.facts.passing.next_run = None),
        ),
    ];
    for (code, level, make) in cases {
        let plan = of(make);
        let finding = plan.findings.iter().find(|finding| finding.code == code);
        let Some(finding) = finding else {
            panic!("{code}: {plan}");
        };
        assert_eq!(finding.level, level, "{code}");
        if level == Blocker {
            assert!(!plan.applicable, "{code}");
            assert!(!finding.remedy.is_empty(), "{code}");
        }
    }
}

#[test]
fn blockers_that_may_be_waived_become_warnings() {
    let make = |waived: &[&str]| {
        of(|case| {
            case.facts.running.other_broker = true;
            case.facts.connector.managed = true;
            case.waived = waived.iter().map(|code| (*code).to_owned()).collect();
        })
    };
    let blockers = |plan: &Plan| -> Vec<&str> {
        plan.findings
            .iter()
            .filter(|finding| finding.level == Level::Blocker)
            .map(|finding| finding.code)
            .collect()
    };
    assert_eq!(blockers(&make(&[])), ["already-managed", "other-broker"]);
    assert_eq!(
        blockers(&make(&["other-broker", "already-managed"])),
        ["already-managed"],
        "not every blocker may be"
    );
}

#[test]
fn the_hash_is_over_what_the_plan_rests_on() {
    let base = of(|_| {}).hash;
    assert_eq!(base.len(), 64);
    assert_eq!(of(|_| {}).hash, base);
    let same: [fn(&mut Case); 3] = [
        |case| case.facts.passing.now += 5,
        |case| case.facts.passing.push_queue = 9,
        |case| case.facts.passing.state_hash = None,
    ];
    for (number, change) in same.into_iter().enumerate() {
        assert_eq!(of(change).hash, base, "{number}");
    }
    let other: [fn(&mut Case); 9] = [
        |case| case.facts.connector.scope.push("x".to_owned()),
        |case| case.facts.user.id = "u2".to_owned(),
        |case| case.facts.user.shared_by.push("x".to_owned()),
        |case| case.facts.running.digest = Some("sha256:cd".to_owned()),
        |case| case.facts.target.composer = Some("there".to_owned()),
        |case| case.environment(&[("FEED_API_KEY", "another")]),
        |case| case.environment(&[("OWN", "x")]),
        |case| {
            case.waived.insert("x".to_owned());
        },
        |case| case.key = [8; 32],
    ];
    for (number, change) in other.into_iter().enumerate() {
        assert_ne!(of(change).hash, base, "{number}");
    }
}

#[test]
fn no_plan_shows_a_secret() {
    let plan = of(|case| {
        case.environment(&[
            ("FEED_SECOND_KEY", "\"s3cret\""),
            ("OWN_TOKEN", "s3cret"),
            ("HTTP_PROXY", "http://u:s3cret@proxy"),
            ("NOBODY_KNOWS", "s3cret"),
            ("FEED_TITLE", "see https://u:s3cret@title.example/x"),
        ]);
    });
    let json = serde_json::to_string(&plan).unwrap();
    for shown in [plan.to_string(), json, format!("{plan:?}")] {
        for secret in ["s3cret", "hunter2", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        for part in ["***", "https://feed.example", "https://***@title.example/x"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}

#[test]
fn blockers_come_first_and_a_value_stays_on_its_line() {
    let text = of(|case| {
        case.environment(&[("FEED_TITLE", "one\ntwo\u{1b}[31m")]);
        case.facts.connector.name = "\u{1b}[2J".to_owned();
        case.facts.connector.managed = true;
    })
    .to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("BLOCKER"), "{text}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("FEED_TITLE") && line.contains("one two"))
    );
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("cannot be applied"));
}

#[test]
fn the_wait_follows_the_kind_of_connector() {
    type Make = fn(&mut Facts);
    let cases: [(&str, Make, WaitFor, Option<i64>); 9] = [
        ("between runs", |_| {}, WaitFor::BetweenRuns, Some(NOW)),
        (
            "just before a run",
            |f| f.passing.next_run = Some(NOW + 1000),
            WaitFor::BetweenRuns,
            None,
        ),
        (
            "works are open",
            |f| f.passing.running_works = 1,
            WaitFor::BetweenRuns,
            None,
        ),
        (
            "a run is late",
            |f| f.passing.next_run = Some(NOW - 1),
            WaitFor::BetweenRuns,
            None,
        ),
        (
            "no schedule",
            |f| f.passing.next_run = None,
            WaitFor::FixedTime,
            None,
        ),
        (
            "a stream",
            |f| f.connector.connector_type = "STREAM".to_owned(),
            WaitFor::Position,
            Some(NOW),
        ),
        (
            "an enrichment",
            |f| f.connector.connector_type = "INTERNAL_ENRICHMENT".to_owned(),
            WaitFor::WorkInHand,
            Some(NOW),
        ),
        (
            "one that ends by itself",
            |f| f.passing.run_and_terminate = true,
            WaitFor::Exit,
            None,
        ),
        (
            "silent",
            |f| f.passing.live = false,
            WaitFor::Nothing,
            Some(NOW),
        ),
    ];
    for (name, make, wait_for, from) in cases {
        let mut facts = facts();
        make(&mut facts);
        let estimate = quiesce(&facts);
        assert_eq!(
            (estimate.wait_for, estimate.from),
            (wait_for, from),
            "{name}"
        );
    }
}

#[test]
fn what_may_come_twice_is_told() {
    assert!(replay(&facts()).forced.contains("60 s ago"));
    let mut none = facts();
    none.passing.state_hash = None;
    assert!(replay(&none).forced.starts_with("everything"));
    let mut stream = facts();
    stream.connector.connector_type = "STREAM".to_owned();
    assert!(replay(&stream).forced.contains("40 s"));
}

#[test]
fn facts_can_be_stored() {
    let text = serde_json::to_string(&facts()).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts());
    // a secret has no place in them
    assert!(!text.contains(Secret::from("hunter2").expose()));
}
