//! Connectors from a file: planned, applied, applied again, and refused.

use ferrocti_catalog::{PrivateKey, Secret};
use ferrocti_connectors::{
    ConnectorError,
    declared::{Action, FilesError, Step, references},
    managed::{Change, Configuration, RequestedStatus},
};
use ferrocti_model::clock::SeededEntropy;
use serde_json::json;

use crate::{
    catalogs::contract,
    site::{PRIVATE, Site, TWO, put, registration, two, with_second},
};

fn actions(steps: &[Step]) -> Vec<(&str, &str)> {
    steps
        .iter()
        .map(|step| (step.action.name(), step.name.as_str()))
        .collect()
}

fn paths(step: &Step) -> Vec<&str> {
    step.changes
        .iter()
        .map(|change| change.path.as_str())
        .collect()
}

#[test]
fn a_file_that_was_applied_changes_nothing_the_second_time() {
    let site = two();
    let plan = site.plan(TWO);
    assert_eq!(
        actions(&plan.steps),
        [("create", "Feed one"), ("create", "Feed two")]
    );
    assert_eq!(
        paths(&plan.steps[0]),
        [
            "contract",
            "version",
            "running",
            "settings.FEED_URL",
            "secrets.FEED_API_KEY",
            "secrets.FEED_SECOND_TOKEN",
            "launch"
        ]
    );
    let shown = format!("{plan:?}");
    assert!(
        !shown.contains("first") && !shown.contains("second"),
        "{shown}"
    );
    let applied = site.apply(TWO);
    assert_eq!(applied.failures, []);
    let (one, managed) = site.by_title("Feed one");
    assert_eq!(applied.steps[0].id.as_deref(), Some(one.id.as_str()));
    assert!(managed.declared && !managed.definition.pinned);
    assert_eq!(managed.requested, RequestedStatus::Stopped);
    assert_eq!((managed.composer.as_str(), managed.number), ("site-a", 1));
    let key = PrivateKey::from_pem(PRIVATE).unwrap();
    let opened = key
        .open(
            &site.sealed("Feed one", "FEED_API_KEY"),
            &SeededEntropy::new(2),
        )
        .unwrap();
    assert_eq!(opened.expose(), "first");
    let (_, second) = site.by_title("Feed two");
    assert!(second.definition.pinned && second.requested.runs());
    assert_eq!(second.definition.runtime.memory, Some(512 << 20));
    let before = (site.by_title("Feed one"), site.by_title("Feed two"));
    let plan = site.plan(TWO);
    assert_eq!(
        actions(&plan.steps),
        [("keep", "Feed one"), ("keep", "Feed two")],
        "{plan:?}"
    );
    assert!(!plan.changed());
    assert_eq!(site.apply(TWO).failures, []);
    assert_eq!(
        (site.by_title("Feed one"), site.by_title("Feed two")),
        before
    );
}

#[test]
fn a_changed_secret_is_one_change_and_the_others_stay_sealed_as_they_are() {
    let mut site = two();
    site.apply(TWO);
    let sealed =
        |site: &Site| ["FEED_API_KEY", "FEED_SECOND_TOKEN"].map(|key| site.sealed("Feed one", key));
    let [first, second] = sealed(&site);
    site.secrets
        .insert("env:FEED_KEY".to_owned(), Secret::new("rotated"));
    let plan = site.plan(TWO);
    assert_eq!(
        actions(&plan.steps),
        [("change", "Feed one"), ("keep", "Feed two")]
    );
    let change = &plan.steps[0].changes[0];
    assert_eq!(paths(&plan.steps[0]), ["secrets.FEED_API_KEY"]);
    assert_eq!(
        (change.before.as_deref(), change.after.as_deref()),
        (Some("***"), Some("***"))
    );
    assert_eq!(site.apply(TWO).failures, []);
    let [rotated, same] = sealed(&site);
    assert_ne!(rotated, first);
    assert_eq!(same, second);
    assert_eq!(site.by_title("Feed one").1.number, 2);
    assert!(!site.plan(TWO).changed());
    // a secret that the file has no longer is forgotten
    let without = TWO.replace("      FEED_SECOND_TOKEN: {file: /run/key}\n", "");
    assert_eq!(
        paths(&site.plan(&without).steps[0]),
        ["secrets.FEED_SECOND_TOKEN"]
    );
    site.apply(&without);
    let (_, managed) = site.by_title("Feed one");
    assert_eq!(managed.definition.sealed_keys(), ["FEED_API_KEY"]);
}

#[test]
fn only_what_was_seen_is_applied() {
    let mut site = two();
    site.apply(TWO);
    let file = TWO.replace("https://other.example.org/", "https://third.example.org/");
    let seen = site.plan(&file).hash;
    assert_eq!(
        site.plan(&file).hash,
        seen,
        "the same plan has the same hash"
    );
    assert_eq!(site.plan(&format!("# a comment\n{file}")).hash, seen);
    let refused = |site: &Site, text: &str| {
        let applied = site
            .files
            .apply(&site.fixture.admin, site.sent(text), &seen, true);
        matches!(applied, Err(FilesError::Stale))
    };
    assert!(
        refused(&site, &file.replace("third", "fourth")),
        "another file"
    );
    let former = site
        .secrets
        .insert("env:FEED_KEY".to_owned(), Secret::new("other"))
        .unwrap();
    assert!(refused(&site, &file), "another secret");
    site.secrets.insert("env:FEED_KEY".to_owned(), former);
    let (two, _) = site.by_title("Feed two");
    site.fixture
        .connectors
        .request(&site.fixture.admin, &two.id, RequestedStatus::Stopping)
        .unwrap();
    assert!(refused(&site, &file), "another state of what is there");
    let url = |site: &Site| site.by_title("Feed two").1.definition.entries;
    assert!(
        format!("{:?}", url(&site)).contains("other.example.org"),
        "nothing was done"
    );
    let seen = site.plan(&file).hash;
    let applied = site
        .files
        .apply(&site.fixture.admin, site.sent(&file), &seen, false);
    assert_eq!(applied.unwrap().failures, []);
    assert!(format!("{:?}", url(&site)).contains("third.example.org"));
}

#[test]
fn one_bad_connector_of_three_stops_no_other() {
    let mut site = Site::open();
    let file = r#"
connectors:
  - {name: First, contract: feed, settings: {FEED_URL: "https://a.example.org/"}, secrets: {FEED_API_KEY: {env: FEED_KEY}}}
  - {name: Bad, contract: feed, settings: {FEED_URL: "no address"}}
  - {name: Last, contract: other, settings: {FEED_URL: "https://b.example.org/"}}
"#;
    let plan = site.plan(file);
    assert_eq!(
        actions(&plan.steps),
        [("create", "First"), ("problem", "Bad"), ("create", "Last")]
    );
    let problem = plan.steps[1].problem.clone().unwrap();
    assert!(problem.contains("FEED_URL"), "{problem}");
    let applied = site.apply(file);
    assert_eq!(applied.failures.len(), 1);
    assert_eq!(applied.failures[0].name, "Bad");
    assert_eq!(applied.failures[0].error, problem);
    assert_eq!(site.titles(), ["First", "Last"]);
    let plan = site.plan(file);
    assert_eq!(
        actions(&plan.steps),
        [("keep", "First"), ("problem", "Bad"), ("keep", "Last")]
    );
    assert!(plan.changed(), "a file with a problem is not done");
    // one that is there and cannot be what the file says any more stays as it is
    site.secrets.remove("env:FEED_KEY");
    let plan = site.plan(file);
    assert_eq!(plan.steps[0].action, Action::Problem);
    assert_eq!(
        plan.steps[0].problem.as_deref(),
        Some(
            "the secret FEED_API_KEY cannot be read from the environment variable FEED_KEY: it was not sent along"
        )
    );
    assert_eq!(plan.removals(), 0);
    site.apply(file);
    assert_eq!(site.titles(), ["First", "Last"]);
}

#[test]
fn what_fails_while_it_is_applied_is_told_and_the_rest_is_done() {
    let site = Site::open();
    // the short names are the same, which is seen when the second one is made
    let file = r#"
connectors:
  - {name: Same name, contract: feed, settings: {FEED_URL: "https://a.example.org/"}}
  - {name: Same-name, contract: feed, settings: {FEED_URL: "https://b.example.org/"}}
  - {name: Last, contract: other, settings: {FEED_URL: "https://c.example.org/"}}
"#;
    let applied = site.apply(file);
    assert_eq!(applied.failures.len(), 1, "{:?}", applied.failures);
    assert_eq!(applied.failures[0].name, "Same-name");
    assert_eq!(site.titles(), ["Last", "Same name"]);
    let better = file.replace("Same-name", "Another name");
    assert_eq!(site.apply(&better).failures, []);
    assert_eq!(site.titles(), ["Another name", "Last", "Same name"]);
}

#[test]
fn only_what_came_from_a_file_is_removed_and_only_when_that_is_allowed() {
    let site = two();
    site.apply(TWO);
    let by_hand = ferrocti_connectors::managed::Deploy {
        id: None,
        name: "By hand".to_owned(),
        catalog: "test".to_owned(),
        contract: site.catalogs.find(None, "feed", None).unwrap().contract,
        given: vec![ferrocti_catalog::Given::new(
            "FEED_URL",
            "https://x.example.org/",
        )],
        extra: ferrocti_catalog::Extra::Refuse,
        user: ferrocti_connectors::managed::UserChoice::Automatic {
            name: None,
            confidence: None,
        },
        composer: None,
        runtime: ferrocti_catalog::launch::Runtime::default(),
        start: false,
        pinned: false,
        declared: false,
    };
    site.fixture
        .connectors
        .deploy(&site.fixture.admin, by_hand)
        .unwrap();
    for empty in ["", "# nothing\n", "connectors:\n", "---\n"] {
        let refused = site.files.plan(&site.fixture.admin, site.sent(empty));
        assert!(matches!(refused, Err(FilesError::File(_))), "{empty:?}");
    }
    let none = "connectors: []";
    let plan = site.plan(none);
    assert_eq!(
        actions(&plan.steps),
        [("remove", "Feed one"), ("remove", "Feed two")]
    );
    assert_eq!(plan.removals(), 2);
    let refused = site
        .files
        .apply(&site.fixture.admin, site.sent(none), &plan.hash, false);
    let Err(FilesError::Removals(names)) = refused else {
        panic!("nobody allowed it: {refused:?}");
    };
    assert_eq!(names, ["`Feed one`", "`Feed two`"]);
    assert_eq!(site.titles(), ["By hand", "Feed one", "Feed two"]);
    assert_eq!(site.apply(none).failures, []);
    assert_eq!(site.titles(), ["By hand"]);
    assert!(!site.plan(none).changed());
}

#[test]
fn a_new_version_and_what_it_asks_for_come_in_one_definition() {
    let site = two();
    let file = TWO.replace("    running: false\n", "");
    site.apply(&file);
    let mut next = with_second(contract("feed", "7.2.0"));
    next["config_schema"]["properties"]["FEED_REGION"] = json!({"type": "string"});
    next["config_schema"]["required"] =
        json!(["OPENCTI_URL", "OPENCTI_TOKEN", "FEED_URL", "FEED_REGION"]);
    put(
        site.dir.path(),
        &[
            with_second(contract("feed", "7.1.0")),
            next,
            contract("other", "7.2.0"),
            contract("other", "7.1.0"),
        ],
    );
    site.catalogs.refresh();
    let plan = site.plan(&file);
    assert_eq!(
        actions(&plan.steps),
        [("problem", "Feed one"), ("keep", "Feed two")],
        "the second is pinned"
    );
    assert!(
        plan.steps[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("FEED_REGION")
    );
    let file = file.replace(
        "feed.example.org/\"}",
        "feed.example.org/\", FEED_REGION: eu}",
    );
    let plan = site.plan(&file);
    assert_eq!(paths(&plan.steps[0]), ["version", "settings.FEED_REGION"]);
    let sealed = site.sealed("Feed one", "FEED_API_KEY");
    assert_eq!(site.apply(&file).failures, []);
    let (connector, managed) = site.by_title("Feed one");
    assert_eq!((managed.definition.version(), managed.number), ("7.2.0", 2));
    assert_eq!(connector.version.as_deref(), Some("7.2.0"));
    assert_eq!(
        site.sealed("Feed one", "FEED_API_KEY"),
        sealed,
        "the secret is the same"
    );
    assert!(!site.plan(&file).changed());
    let back = file.replace("contract: feed\n", "contract: feed\n    version: 7.1.0\n");
    let problem = site.plan(&back).steps[0].problem.clone().unwrap();
    assert!(
        problem.contains("FEED_REGION"),
        "the older one has no such key: {problem}"
    );
}

#[test]
fn who_a_connector_acts_as_is_found_or_made() {
    let site = Site::open();
    let named = |user: &str, confidence: &str| {
        format!(
            "connectors:\n  - name: Feed\n    contract: feed\n    settings: {{FEED_URL: 'https://a.example.org/'}}\n    user: '{user}'\n{confidence}"
        )
    };
    let file = named("[C] Imports", "    confidence: 40\n");
    let plan = site.plan(&file);
    assert_eq!(
        plan.steps[0].notices,
        [
            "there is no user `[C] Imports`: a service account imports@connector.ferrocti.local is made for it"
        ]
    );
    site.apply(&file);
    let user = site.user("Feed");
    assert_eq!(
        (
            user.name.as_str(),
            user.max_confidence,
            user.service_account
        ),
        ("[C] Imports", Some(40), true)
    );
    for same in [
        "[C] Imports",
        "Imports",
        "imports@connector.ferrocti.local",
        &user.id.to_string(),
    ] {
        let file = named(same, "    confidence: 40\n");
        assert!(
            !site.plan(&file).changed(),
            "{same}: {:?}",
            site.plan(&file)
        );
    }
    let more = named("Imports", "    confidence: 70\n");
    assert_eq!(paths(&site.plan(&more).steps[0]), ["confidence"]);
    let number = site.by_title("Feed").1.number;
    assert_eq!(site.apply(&more).failures, []);
    assert_eq!(site.user("Feed").max_confidence, Some(70));
    assert_eq!(
        site.by_title("Feed").1.number,
        number,
        "it is not started anew for that"
    );
    let ann = site.person("ann@example.org", "Ann");
    let problem = site.plan(&named("Ann", "    confidence: 70\n")).steps[0]
        .problem
        .clone()
        .unwrap();
    assert!(problem.contains("confidence"), "{problem}");
    let hers = named("Ann", "");
    assert_eq!(paths(&site.plan(&hers).steps[0]), ["user"]);
    assert_eq!(site.apply(&hers).failures, []);
    assert_eq!(site.user("Feed").id, ann.id);
    site.person("bea@example.org", "Ann");
    let problem = site
        .plan(
            &named("Imports", "")
                .replace("Feed\n", "Next\n")
                .replace("Imports", "Ann"),
        )
        .steps[0]
        .problem
        .clone()
        .unwrap();
    assert!(problem.contains("several users"), "{problem}");
    assert!(
        !site.plan(&hers).changed(),
        "whose connector it is needs no search"
    );
}

#[test]
fn who_may_not_do_it_is_told_before_anything_is_done() {
    let site = two();
    site.apply(TWO);
    let nobody = site.fixture.service("Somebody");
    let refused = site.files.plan(&nobody, site.sent(TWO)).unwrap_err();
    assert_eq!(refused.code(), "FORBIDDEN_ACCESS");
    let operator = site.operator();
    let changed = TWO.replace("running: false", "running: true");
    let plan = site.files.plan(&operator, site.sent(&changed)).unwrap();
    assert_eq!(paths(&plan.steps[0]), ["running"]);
    let applied = site
        .files
        .apply(&operator, site.sent(&changed), &plan.hash, false)
        .unwrap();
    assert_eq!(applied.failures, []);
    assert!(site.by_title("Feed one").1.requested.runs());
    // making one makes an account
    let more = format!(
        "{changed}  - {{name: New, contract: feed, settings: {{FEED_URL: 'https://n.example.org/'}}}}\n"
    );
    let plan = site.files.plan(&operator, site.sent(&more)).unwrap();
    let problem = plan.steps[2].problem.clone().unwrap();
    assert!(problem.contains("SETTINGS_SETACCESSES"), "{problem}");
}

#[test]
fn a_connector_goes_to_the_composer_that_the_file_names() {
    let site = two();
    site.apply(TWO);
    let other = site.fixture.user_with("Other composer", &["CONNECTORAPI"]);
    site.fixture
        .connectors
        .register_composer(&other, registration("site-b", "Site B"))
        .unwrap();
    assert!(!site.plan(TWO).changed(), "nothing is said, nothing moves");
    let to = |composer: &str| {
        TWO.replace(
            "    running: false\n",
            &format!("    composer: {composer}\n    running: false\n"),
        )
    };
    let problem = site.plan(&to("site-c")).steps[0].problem.clone().unwrap();
    assert!(problem.contains("`site-a`, `site-b`"), "{problem}");
    let file = to("Site B");
    assert_eq!(paths(&site.plan(&file).steps[0]), ["composer"]);
    assert_eq!(site.apply(&file).failures, []);
    assert_eq!(site.by_title("Feed one").1.composer, "site-b");
    assert!(!site.plan(&file).changed());
    assert!(!site.plan(&to("site-b")).changed());
}

#[test]
fn secrets_are_set_again_for_a_composer_with_another_key() {
    let site = two();
    site.apply(TWO);
    let sealed = site.sealed("Feed one", "FEED_API_KEY");
    // as if the composer had another key than the one that this was sealed for
    site.fixture
        .store
        .write(|tx| {
            let mut composer = tx.composer("site-a")?.unwrap();
            composer.key_id = "another".to_owned();
            tx.put_composer(&composer)?;
            Ok::<_, ConnectorError>(())
        })
        .unwrap();
    let plan = site.plan(TWO);
    assert_eq!(
        paths(&plan.steps[0]),
        ["secrets.FEED_API_KEY", "secrets.FEED_SECOND_TOKEN"]
    );
    assert_eq!(site.apply(TWO).failures, []);
    assert_ne!(site.sealed("Feed one", "FEED_API_KEY"), sealed);
    assert_eq!(site.by_title("Feed one").1.definition.key_id, "another");
    assert!(!site.plan(TWO).changed());
}

#[test]
fn a_connector_made_by_hand_is_taken_over_and_another_contract_is_refused() {
    let site = two();
    site.apply(TWO);
    let (one, _) = site.by_title("Feed one");
    let change = Change {
        declared: Some(false),
        configuration: Some(Configuration {
            given: vec![ferrocti_catalog::Given::new(
                "FEED_URL",
                "https://hand.example.org/",
            )],
            replace: false,
            extra: ferrocti_catalog::Extra::Refuse,
        }),
        ..Change::default()
    };
    site.fixture
        .connectors
        .configure(&site.fixture.admin, &one.id, change)
        .unwrap();
    let plan = site.plan(TWO);
    assert_eq!(paths(&plan.steps[0]), ["settings.FEED_URL", "declared"]);
    let change = &plan.steps[0].changes[0];
    assert_eq!(change.before.as_deref(), Some("https://hand.example.org/"));
    assert_eq!(site.apply(TWO).failures, []);
    assert!(site.by_title("Feed one").1.declared);
    let swapped = TWO.replace("contract: feed", "contract: other");
    let plan = site.plan(&swapped);
    assert!(
        plan.steps[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("is another connector"),
        "{plan:?}"
    );
    assert_eq!(plan.removals(), 0);
}

#[test]
fn images_and_commands_are_deployed_without_a_catalog() {
    let site = Site::open();
    let file = r#"
connectors:
  - name: Own importer
    command: ["@ferrocti", connector, sample]
    type: EXTERNAL_IMPORT
    settings: {IMPORTER_URL: "https://a.example.org/"}
    secrets: {IMPORTER_API_KEY: {env: FEED_KEY}}
  - {name: Own image, image: "registry.example:5000/x/y:1.2", type: STREAM}
"#;
    let plan = site.plan(file);
    let launch = plan.steps[0]
        .changes
        .iter()
        .find(|change| change.path == "launch")
        .unwrap();
    assert!(launch.after.as_ref().unwrap().contains("@ferrocti"));
    assert_eq!(site.apply(file).failures, []);
    assert!(!site.plan(file).changed(), "{:?}", site.plan(file));
    let next = file
        .replace("y:1.2", "y:1.3")
        .replace("a.example.org", "b.example.org")
        .replace("sample]", "sample, --twice]");
    let plan = site.plan(&next);
    assert_eq!(paths(&plan.steps[0]), ["settings.IMPORTER_URL", "launch"]);
    assert_eq!(paths(&plan.steps[1]), ["version"]);
    assert_eq!(site.apply(&next).failures, []);
    assert_eq!(
        site.by_title("Own image").1.definition.image,
        "registry.example:5000/x/y:1.3"
    );
    assert!(!site.plan(&next).changed(), "{:?}", site.plan(&next));
}

#[test]
fn a_name_that_a_connector_without_composer_has_is_a_problem() {
    let site = two();
    let service = site.fixture.service("Old");
    let standalone = ferrocti_connectors::Registration {
        id: "old".to_owned(),
        name: "feed-one".to_owned(),
        connector_type: "EXTERNAL_IMPORT".to_owned(),
        ..Default::default()
    };
    site.fixture
        .connectors
        .register(&service, standalone)
        .unwrap();
    let plan = site.plan(TWO);
    let problem = plan.steps[0].problem.as_ref().unwrap();
    assert!(problem.contains("no composer manages"), "{problem}");
    assert_eq!(plan.steps[1].action, Action::Create);
}

#[test]
fn the_secrets_of_a_file_are_listed_by_how_they_are_sent() {
    let found = references(TWO).unwrap();
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["env:FEED_KEY", "file:/run/key"]);
}

#[test]
fn a_connector_that_runs_as_whoever_removes_it_is_removed_too() {
    let site = two();
    let file = TWO.replace(
        "version: 7.1.0",
        "version: 7.1.0\n    user: admin@example.org",
    );
    assert_eq!(site.apply(&file).failures, []);
    let (connector, _) = site.by_title("Feed two");
    let token = site.fixture.managed(&connector.id).token.unwrap().token;
    let lives = ferrocti_connectors::Registration {
        id: connector.id,
        name: connector.name,
        connector_type: connector.kind,
        ..Default::default()
    };
    let acting = ferrocti_accounts::Acting::of(&site.fixture.admin).with_token(token);
    site.fixture.connectors.register(acting, lives).unwrap();
    assert_eq!(site.apply("connectors: []").failures, []);
    assert!(site.titles().is_empty());
}

#[test]
fn an_account_that_is_taken_up_again_gets_the_confidence_of_the_file() {
    let site = two();
    let file = |confidence: u8| {
        TWO.replace(
            "running: false",
            &format!("confidence: {confidence}\n    running: false"),
        )
    };
    site.apply(&file(40));
    assert_eq!(site.user("Feed one").max_confidence, Some(40));
    site.apply("connectors: []");
    assert_eq!(site.apply(&file(55)).failures, []);
    assert_eq!(site.user("Feed one").max_confidence, Some(55));
    assert!(!site.plan(&file(55)).changed());
}
