//! What can go wrong between a composer and its platform: told in words, never taken for an answer, never with the token in it.

use std::{path::PathBuf, time::Duration};

use ferrocti_catalog::environment::Proxy;
use ferrocti_composer::platform::{
    Access, Ferrocti, Found, OpenCti, Platform, PlatformError, Protocol, Trouble,
};
use serde_json::json;

use super::{
    TOKEN, access, me,
    script::{Server, Step, data, json_step, refusal, unknown_field},
};

/// What asking for work comes to, in both protocols.
async fn both(step: Step) -> Vec<Trouble> {
    let ours = Server::start([step.clone()]);
    let theirs = Server::start([step]);
    vec![
        Ferrocti::open(&access(&ours), "site-a")
            .unwrap()
            .work()
            .await
            .unwrap_err(),
        OpenCti::open(&access(&theirs), "site-a")
            .unwrap()
            .work()
            .await
            .unwrap_err(),
    ]
}

fn away(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Away(_))
}

fn refused(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Refused(_))
}

#[tokio::test]
async fn every_fault_is_told_for_what_it_is() {
    let html = "<html><body>Bad gateway</body></html>".to_owned();
    let moved = vec![(
        "location",
        "https://elsewhere.example.org/graphql".to_owned(),
    )];
    let half = r#"{"data": {"composerWork": {"version": "a-1", "conn"#.to_owned();
    type Kind = fn(&Trouble) -> bool;
    let cases: Vec<(&str, Step, Kind, &str)> = vec![
        ("closed", Step::Close, away, "cannot reach|broke off"),
        ("cut", Step::Cut(half.clone()), away, "broke off"),
        ("half", Step::Answer(200, vec![], half), away, "broke off"),
        (
            "empty",
            Step::Answer(200, vec![], String::new()),
            away,
            "does not answer like a platform",
        ),
        (
            "html",
            Step::Answer(200, vec![], html.clone()),
            away,
            "does not answer like a platform (HTTP 200)",
        ),
        (
            "not found",
            Step::Answer(404, vec![], html.clone()),
            away,
            "base path",
        ),
        (
            "gateway",
            Step::Answer(502, vec![], html.clone()),
            away,
            "cannot answer now (HTTP 502)",
        ),
        (
            "too many",
            Step::Answer(429, vec![], html.clone()),
            away,
            "HTTP 429",
        ),
        (
            "busy in JSON",
            Step::Answer(503, vec![], r#"{"error": "Too many."}"#.to_owned()),
            away,
            "cannot answer now (HTTP 503)",
        ),
        (
            "moved",
            Step::Answer(301, moved.clone(), html.clone()),
            refused,
            "https://elsewhere.example.org/graphql",
        ),
        (
            "moved for good",
            Step::Answer(308, moved, String::new()),
            refused,
            "give it as the address",
        ),
        (
            "no login",
            refusal("AUTH_REQUIRED", "You must be logged in to do this."),
            refused,
            "does not know the token",
        ),
        (
            "401",
            Step::Answer(401, vec![], html),
            refused,
            "does not know the token",
        ),
        (
            "forbidden",
            refusal("FORBIDDEN_ACCESS", "You are not allowed to do this."),
            refused,
            "may not do this",
        ),
        (
            "refused",
            refusal("FUNCTIONAL_ERROR", "No."),
            refused,
            "No. (FUNCTIONAL_ERROR)",
        ),
        (
            "no data",
            json_step(json!({})),
            away,
            "does not answer like a platform",
        ),
        (
            "null data",
            json_step(json!({ "data": null })),
            away,
            "does not answer like a platform",
        ),
        (
            "no field",
            json_step(json!({ "data": {} })),
            away,
            "is missing",
        ),
        (
            "null field",
            json_step(json!({ "data": { "composerWork": null, "connectorsForManagers": null } })),
            away,
            "nothing is concluded",
        ),
        (
            "odd field",
            json_step(json!({ "data": { "composerWork": [1], "connectorsForManagers": 7 } })),
            away,
            "nothing is concluded",
        ),
        (
            "a text",
            json_step(json!("hello")),
            away,
            "does not answer like a platform",
        ),
        (
            "errors beside data",
            json_step(json!({
                "data": { "composerWork": { "version": "1", "connectors": [], "tombstones": [], "approved": [] }, "connectorsForManagers": [] },
                "errors": [{ "message": "Target contract not found", "name": "UNSUPPORTED_ERROR" }],
            })),
            refused,
            "Target contract not found",
        ),
    ];
    for (name, step, kind, words) in cases {
        for trouble in both(step).await {
            let text = trouble.to_string();
            assert!(kind(&trouble), "{name}: {trouble:?}");
            assert!(
                words.split('|').any(|words| text.contains(words)),
                "{name}: {text}"
            );
            assert!(!text.contains(TOKEN), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn a_platform_that_does_not_answer_is_not_waited_for_without_end() {
    let server = Server::start([Step::Silence]);
    let access = Access {
        patience: Duration::from_millis(200),
        ..access(&server)
    };
    let platform = Ferrocti::open(&access, "site-a").unwrap();
    let trouble = platform.work().await.unwrap_err();
    assert!(
        away(&trouble) && trouble.to_string().contains("in time"),
        "{trouble:?}"
    );
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_the_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let platform = Ferrocti::open(&Access::new(&url, TOKEN), "site-a").unwrap();
    let trouble = platform.work().await.unwrap_err();
    assert!(
        away(&trouble) && trouble.to_string().contains(&url),
        "{trouble:?}"
    );
}

#[tokio::test]
async fn a_redirect_takes_the_token_nowhere() {
    let other = Server::start([data("composerWork", json!({}))]);
    let to = vec![("location", format!("{}/graphql", other.url))];
    let server = Server::start([
        Step::Answer(307, to.clone(), String::new()),
        Step::Answer(302, to, String::new()),
    ]);
    let platform = Ferrocti::open(&access(&server), "site-a").unwrap();
    assert!(platform.work().await.is_err());
    assert!(platform.changed("1", Duration::from_secs(1)).await.is_err());
    assert_eq!(server.asked().len(), 2);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn every_request_says_who_asks() {
    let server = Server::start([]);
    let platform = Ferrocti::open(&access(&server), "site-a").unwrap();
    let _ = platform.work().await;
    let _ = platform.changed("1", Duration::from_secs(1)).await;
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert_eq!(
            asked.header("authorization"),
            Some(format!("Bearer {TOKEN}").as_str())
        );
        assert!(
            asked
                .header("user-agent")
                .unwrap()
                .starts_with("ferrocti-composer/")
        );
    }
}

#[test]
fn what_cannot_be_used_is_refused_before_anybody_is_asked() {
    let of = |url: &str| Ferrocti::open(&Access::new(url, TOKEN), "a").map(drop);
    for url in [
        "cti.example.org",
        "ftp://cti.example.org",
        "http://",
        "",
        "https://a b/",
    ] {
        assert!(matches!(of(url), Err(PlatformError::Address(_))), "{url}");
    }
    let with_password = of("https://admin:hunter2@cti.example.org").unwrap_err();
    assert!(
        !with_password.to_string().contains("hunter2"),
        "{with_password}"
    );
    assert!(of("https://cti.example.org/base/").is_ok());

    let proxied = |proxy: &str| {
        let proxy = Proxy {
            https: Some(proxy.to_owned()),
            ..Proxy::default()
        };
        let access = Access {
            proxy: Some(proxy),
            ..Access::new("https://cti.example.org", TOKEN)
        };
        Ferrocti::open(&access, "a").map(drop)
    };
    assert!(proxied("http://user:hunter2@proxy:3128").is_ok());
    let bad = proxied("nonsense://user:hunter2@proxy").unwrap_err();
    assert!(!bad.to_string().contains("hunter2"), "{bad}");

    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for path in [PathBuf::from("/nowhere/ca.pem"), empty] {
        let access = Access {
            ca_file: Some(path.clone()),
            ..Access::new("https://cti.example.org", TOKEN)
        };
        let error = Ferrocti::open(&access, "a").unwrap_err();
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_proxy_is_asked_unless_the_host_is_an_exception() {
    let proxy = Server::start([Step::Answer(502, vec![], String::new())]);
    let server = Server::start([Step::Answer(502, vec![], String::new())]);
    let through = |except: Option<&str>| {
        let proxy = Proxy {
            http: Some(proxy.url.clone()),
            except: except.map(str::to_owned),
            ..Proxy::default()
        };
        Access {
            proxy: Some(proxy),
            ..access(&server)
        }
    };
    let _ = Ferrocti::open(&through(None), "a").unwrap().work().await;
    assert_eq!((proxy.asked().len(), server.asked().len()), (1, 0));
    let _ = Ferrocti::open(&through(Some("localhost, 127.0.0.1")), "a")
        .unwrap()
        .work()
        .await;
    assert_eq!((proxy.asked().len(), server.asked().len()), (1, 1));
}

#[tokio::test]
async fn what_a_platform_speaks_is_found_by_asking_it() {
    // a composer that is not registered is refused, and that says enough
    let ours = Server::start([
        refusal("FUNCTIONAL_ERROR", "There is no such composer."),
        data("composerRegister", json!({ "id": "site-a" })),
    ]);
    let platform = Found::open(&access(&ours), "site-a").unwrap();
    assert!(matches!(
        platform.work().await,
        Err(Trouble::Unregistered(_))
    ));
    assert_eq!(platform.protocol(), None);
    platform.register(&me()).await.unwrap();
    assert_eq!(platform.protocol(), Some(Protocol::Ferrocti));
    assert_eq!(ours.operations(), ["ComposerWork", "ComposerRegister"]);

    let theirs = Server::start([
        unknown_field("composerWork"),
        data("about", json!({ "version": "7.260817.0" })),
        data(
            "registerConnectorsManager",
            json!({ "id": "site-a", "about_version": "7.260817.0" }),
        ),
    ]);
    let platform = Found::open(&access(&theirs), "site-a").unwrap();
    platform.register(&me()).await.unwrap();
    assert_eq!(platform.protocol(), Some(Protocol::OpenCti));
    assert_eq!(
        theirs.operations(),
        ["ComposerWork", "GetVersion", "RegisterConnectorsManager"]
    );
}

#[tokio::test]
async fn a_copy_of_a_directory_is_told_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut places = Vec::new();
    for name in ["one", "copy", "one"] {
        let works_in = directory.path().join(name);
        std::fs::create_dir_all(&works_in).unwrap();
        let server = Server::start([
            refusal("FUNCTIONAL_ERROR", "There is no such composer."),
            data("composerRegister", json!({ "id": "site-a" })),
        ]);
        let platform = Found::open(&access(&server), "site-a").unwrap();
        let platform = platform.working_in(&works_in);
        platform.register(&me()).await.unwrap();
        let place = &server.asked()[1].body["variables"]["input"]["place"];
        places.push(place.as_str().unwrap().to_owned());
    }
    assert_eq!(places[0], places[2], "it was started again");
    assert_ne!(places[0], places[1]);
}

#[tokio::test]
async fn a_platform_that_is_away_is_asked_again_what_it_speaks() {
    let server = Server::start([
        Step::Answer(503, vec![], String::new()),
        refusal("AUTH_REQUIRED", "You must be logged in to do this."),
        refusal("FUNCTIONAL_ERROR", "There is no such composer."),
        data("composerRegister", json!({ "id": "site-a" })),
    ]);
    let platform = Found::open(&access(&server), "site-a").unwrap();
    assert!(away(&platform.register(&me()).await.unwrap_err()));
    assert!(refused(&platform.register(&me()).await.unwrap_err()));
    assert_eq!(platform.protocol(), None);
    platform.register(&me()).await.unwrap();
    assert_eq!(platform.protocol(), Some(Protocol::Ferrocti));
}
