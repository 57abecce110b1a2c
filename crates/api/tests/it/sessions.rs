//! Logging in with a password: the cookie, what it is good for, when it ends, and who may not use it.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::{ADMIN, Fixture};

const EMAIL: &str = "admin@example.org";
const PASSWORD: &str = "a long password";
const HOST: &str = "cti.example.org";
const ME: &str = "{ me { user_email } }";
const MINUTE: i64 = 60_000;

/// A request as a browser on the platform's own page sends it, from an address.
struct Browser {
    cookie: Option<String>,
    address: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Browser {
    fn new() -> Self {
        Self {
            cookie: None,
            address: "203.0.113.9:4000",
            headers: vec![("sec-fetch-site", "same-origin".to_owned())],
        }
    }

    fn from(address: &'static str) -> Self {
        Self {
            address,
            ..Self::new()
        }
    }

    /// The same browser on a page that tells other things about itself.
    fn on(&self, headers: &[(&'static str, &str)]) -> Self {
        Self {
            cookie: self.cookie.clone(),
            address: self.address,
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        }
    }

    fn request(&self, method: &str, path: &str, kind: Option<&str>, body: String) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, format!("a=b; opencti_session={cookie}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        let address: SocketAddr = self.address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    }

    fn send(
        &mut self,
        fixture: &Fixture,
        request: Request<Body>,
    ) -> (StatusCode, HeaderMap, Value) {
        let (status, headers, body) = fixture.send(request);
        if let Some(set) = headers.get(header::SET_COOKIE) {
            let value = set.to_str().unwrap();
            let secret = value
                .strip_prefix("opencti_session=")
                .and_then(|rest| rest.split(';').next())
                .unwrap();
            self.cookie = (!secret.is_empty()).then(|| secret.to_owned());
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (status, headers, body)
    }

    fn log_in_as(
        &mut self,
        fixture: &Fixture,
        email: &str,
        password: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let body = json!({ "email": email, "password": password }).to_string();
        let request = self.request("POST", "/auth/login", Some("application/json"), body);
        self.send(fixture, request)
    }

    fn log_in(&mut self, fixture: &Fixture) -> Value {
        let (status, _, body) = self.log_in_as(fixture, EMAIL, PASSWORD);
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    fn query(&mut self, fixture: &Fixture, query: &str) -> (StatusCode, HeaderMap, Value) {
        let body = json!({ "query": query }).to_string();
        let request = self.request("POST", "/graphql", Some("application/json"), body);
        self.send(fixture, request)
    }

    /// Whether the platform knows who this is.
    fn is_known(&mut self, fixture: &Fixture) -> bool {
        let (_, _, answer) = self.query(fixture, ME);
        match answer.pointer("/data/me/user_email") {
            Some(email) => email == EMAIL,
            None => {
                assert_eq!(answer["errors"][0]["name"], "AUTH_REQUIRED", "{answer}");
                false
            }
        }
    }
}

#[test]
fn a_login_gives_a_cookie_that_is_good_for_everything_until_the_logout() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    assert!(!browser.is_known(&fixture));
    let (status, headers, body) = browser.log_in_as(&fixture, EMAIL, PASSWORD);
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["user"]["user_email"], EMAIL);
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    assert!(browser.is_known(&fixture));
    assert!(browser.is_known(&fixture), "it is no one-way ticket");

    let secret = browser.cookie.clone();
    let request = browser.request("POST", "/auth/logout", None, String::new());
    let (status, headers, _) = browser.send(&fixture, request);
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(
        headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(browser.cookie, None);
    browser.cookie = secret;
    assert!(
        !browser.is_known(&fixture),
        "the session is gone, not only the cookie"
    );
}

#[test]
fn graphql_logs_in_and_out_too() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    let login =
        format!("mutation {{ token(input: {{ email: \"{EMAIL}\", password: \"{PASSWORD}\" }}) }}");
    let (_, headers, answer) = browser.query(&fixture, &login);
    assert!(answer["data"]["token"].is_string(), "{answer}");
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly"), "{cookie}");
    let secret = browser.cookie.clone().unwrap();
    assert_ne!(answer["data"]["token"], secret.as_str());
    assert!(browser.is_known(&fixture));
    let (_, headers, answer) = browser.query(&fixture, "mutation { logout }");
    assert!(answer["data"]["logout"].is_string(), "{answer}");
    assert!(
        headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    browser.cookie = Some(secret);
    assert!(!browser.is_known(&fixture));
}

#[test]
fn a_cookie_that_the_client_brings_is_never_adopted() {
    let fixture = Fixture::new();
    let planted = "x".repeat(64);
    let mut victim = Browser::new();
    victim.cookie = Some(planted.clone());
    victim.log_in(&fixture);
    assert_ne!(victim.cookie.as_deref(), Some(planted.as_str()));
    let mut attacker = Browser::new();
    attacker.cookie = Some(planted);
    assert!(!attacker.is_known(&fixture));
}

#[test]
fn every_login_gives_another_cookie_and_ends_the_former_session() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let first = browser.cookie.clone();
    browser.log_in(&fixture);
    assert_ne!(browser.cookie, first);
    assert!(browser.is_known(&fixture));
    browser.cookie = first;
    assert!(!browser.is_known(&fixture));
}

#[test]
fn the_secret_of_a_session_is_stored_as_a_hash_only() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let secret = browser.cookie.unwrap();
    let session = fixture
        .store
        .read(|snapshot| snapshot.sessions(None))
        .unwrap()
        .remove(0);
    assert_ne!(session.hash.as_slice(), secret.as_bytes());
    let mut thief = Browser::new();
    for known in [session.id.to_string(), fixture.admin.user_id.to_string()] {
        thief.cookie = Some(known);
        assert!(!thief.is_known(&fixture));
    }
    assert_eq!(session.address.as_deref(), Some("203.0.113.9"));
}

#[test]
fn a_token_is_no_cookie_and_a_cookie_no_token() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let secret = browser.cookie.clone().unwrap();
    browser.cookie = Some(ADMIN.to_owned());
    assert!(!browser.is_known(&fixture));
    let answer = fixture.run_as(&secret, ME, json!({}));
    assert_eq!(answer["errors"][0]["name"], "AUTH_REQUIRED", "{answer}");
}

#[test]
fn a_session_ends_when_it_is_not_used() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let idle = fixture.accounts.session_idle();
    for _ in 0..5 {
        fixture.clock.advance(idle - 2 * MINUTE);
        assert!(browser.is_known(&fixture), "use keeps it alive");
    }
    fixture.clock.advance(idle + MINUTE);
    assert!(!browser.is_known(&fixture));
}

#[test]
fn a_session_ends_in_any_case_after_its_lifetime() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let lifetime = fixture.accounts.session_lifetime();
    let mut passed = 0;
    while passed + 10 * MINUTE < lifetime {
        fixture.clock.advance(10 * MINUTE);
        passed += 10 * MINUTE;
        assert!(browser.is_known(&fixture), "after {passed} ms");
    }
    fixture.clock.advance(11 * MINUTE);
    assert!(!browser.is_known(&fixture));
}

#[test]
fn a_page_of_another_site_cannot_use_the_cookie() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let refused: &[&[(&str, &str)]] = &[
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://cti.example.org"),
        ],
        &[],
    ];
    let add = "mutation { labelAdd(input: { value: \"forged\", color: \"#ff0000\" }) { id } }";
    for headers in refused {
        let (status, _, answer) = browser.on(headers).query(&fixture, add);
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?}: {answer}");
        assert_eq!(
            answer["errors"][0]["name"], "FORBIDDEN_ACCESS",
            "{headers:?}"
        );
    }
    let labels = fixture.run(
        "{ labels(search: \"forged\") { edges { node { id } } } }",
        json!({}),
    );
    assert_eq!(labels["labels"]["edges"], json!([]), "nothing was changed");
    for headers in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("origin", "https://cti.example.org")],
        &[("origin", "http://cti.example.org")],
    ] {
        assert!(browser.on(headers).is_known(&fixture), "{headers:?}");
    }
}

#[test]
fn a_token_in_the_header_needs_no_origin_and_counts_more_than_a_cookie() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in(&fixture);
    let bearer = format!("Bearer {ADMIN}");
    let foreign = [
        ("authorization", bearer.as_str()),
        ("origin", "https://evil.example"),
    ];
    assert!(browser.on(&foreign).is_known(&fixture));
    let wrong = [
        ("authorization", "Bearer wrong"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert!(!browser.on(&wrong).is_known(&fixture));
}

#[test]
fn a_form_that_uses_the_cookie_needs_the_sessions_token() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    let csrf = browser.log_in(&fixture)["csrf"]
        .as_str()
        .unwrap()
        .to_owned();
    let boundary = "----b";
    let operations = json!({ "query": ME, "variables": {} });
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{operations}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{{}}\r\n--{boundary}--\r\n"
    );
    let kind = format!("multipart/form-data; boundary={boundary}");
    let mut send = |headers: &[(&'static str, &str)]| {
        let page = browser.on(headers);
        let request = page.request("POST", "/graphql", Some(&kind), body.clone());
        browser.send(&fixture, request)
    };
    let own = ("sec-fetch-site", "same-origin");
    for headers in [&[own][..], &[own, ("x-csrf-token", "wrong")]] {
        assert_eq!(send(headers).0, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let (status, _, answer) = send(&[own, ("x-csrf-token", &csrf)]);
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["data"]["me"]["user_email"], EMAIL, "{answer}");

    let logout = |browser: &mut Browser, fields: &str| {
        let kind = Some("application/x-www-form-urlencoded");
        let request = browser.request("POST", "/auth/logout", kind, fields.to_owned());
        browser.send(&fixture, request).0
    };
    assert_eq!(logout(&mut browser, ""), StatusCode::FORBIDDEN);
    assert!(browser.is_known(&fixture));
    assert_eq!(
        logout(&mut browser, &format!("csrf={csrf}")),
        StatusCode::SEE_OTHER
    );
    assert!(!browser.is_known(&fixture));
}

#[test]
fn a_page_of_another_site_logs_nobody_in_or_out() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    let (status, headers, _) = browser.on(&foreign).log_in_as(&fixture, EMAIL, PASSWORD);
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(headers.get(header::SET_COOKIE).is_none());
    let login =
        format!("mutation {{ token(input: {{ email: \"{EMAIL}\", password: \"{PASSWORD}\" }}) }}");
    let (_, headers, answer) = browser.on(&foreign).query(&fixture, &login);
    assert_eq!(answer["errors"][0]["name"], "FORBIDDEN_ACCESS", "{answer}");
    assert!(headers.get(header::SET_COOKIE).is_none());

    browser.log_in(&fixture);
    let page = browser.on(&foreign);
    let request = page.request("POST", "/auth/logout", None, String::new());
    let (status, headers, _) = page.on(&foreign).send(&fixture, request);
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(headers.get(header::SET_COOKIE).is_none());
    assert!(browser.is_known(&fixture));
}

#[test]
fn a_form_logs_in_and_leads_to_the_first_page() {
    let fixture = Fixture::with(|options| options.base_path = "/cti".to_owned());
    let mut browser = Browser::new();
    let kind = Some("application/x-www-form-urlencoded");
    let fields = "email=admin%40example.org&password=a+long+password".to_owned();
    let request = browser.request("POST", "/cti/auth/login", kind, fields);
    let (status, headers, _) = browser.send(&fixture, request);
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers[header::LOCATION], "/cti/");
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("Path=/cti;"), "{cookie}");
    assert!(browser.is_known(&fixture));
}

#[test]
fn a_page_asks_who_is_logged_in() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    let request = browser.request("GET", "/auth/session", None, String::new());
    assert_eq!(browser.send(&fixture, request).0, StatusCode::UNAUTHORIZED);
    let opened = browser.log_in(&fixture);
    let request = browser.request("GET", "/auth/session", None, String::new());
    let (status, headers, told) = browser.send(&fixture, request);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(told, opened);
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    assert!(
        !told
            .to_string()
            .contains(browser.cookie.as_deref().unwrap())
    );
}

#[test]
fn wrong_passwords_and_unknown_people_get_the_same_answer() {
    let fixture = Fixture::new();
    let mut answers = Vec::new();
    for email in [
        EMAIL,
        "nobody@example.org",
        "",
        "%",
        fixture.admin.user_id.to_string().as_str(),
    ] {
        let (status, headers, body) = Browser::new().log_in_as(&fixture, email, "wrong");
        assert!(headers.get(header::SET_COOKIE).is_none());
        answers.push((status, body));
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert_eq!(answers[0].1["error"], "Bad login or password");
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[test]
fn after_too_many_failures_even_the_right_password_has_to_wait() {
    let fixture = Fixture::new();
    for (email, right) in [(EMAIL, PASSWORD), ("nobody@example.org", "x")] {
        for _ in 0..10 {
            let (status, _, _) = Browser::new().log_in_as(&fixture, email, "wrong");
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
        let (status, headers, body) =
            Browser::from("198.51.100.7:1").log_in_as(&fixture, email, right);
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
        let seconds: i64 = headers[header::RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=15 * 60 + 1).contains(&seconds), "{seconds}");
        assert!(!body.to_string().contains(email));
    }
    fixture.clock.advance(16 * MINUTE);
    Browser::new().log_in(&fixture);
}

#[test]
fn an_address_that_tries_many_people_has_to_wait_and_others_do_not() {
    let fixture = Fixture::new();
    let mut status = StatusCode::UNAUTHORIZED;
    let mut tries = 0;
    while status == StatusCode::UNAUTHORIZED && tries < 300 {
        let email = format!("person{tries}@example.org");
        status = Browser::new().log_in_as(&fixture, &email, "wrong").0;
        tries += 1;
    }
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "after {tries} tries");
    let (status, _, _) = Browser::new().log_in_as(&fixture, EMAIL, PASSWORD);
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    Browser::from("198.51.100.7:1").log_in(&fixture);
}

#[test]
fn an_address_in_a_header_counts_only_behind_a_trusted_proxy() {
    let logged = |fixture: &Fixture| {
        let sessions = fixture
            .store
            .read(|snapshot| snapshot.sessions(None))
            .unwrap();
        sessions[0].address.clone().unwrap()
    };
    let forwarded = [
        ("x-forwarded-for", "198.51.100.1"),
        ("sec-fetch-site", "same-origin"),
    ];
    let open = Fixture::new();
    Browser::new().on(&forwarded).log_in(&open);
    assert_eq!(logged(&open), "203.0.113.9");
    let behind =
        Fixture::with(|options| options.trusted_proxies = vec!["203.0.113.0/24".parse().unwrap()]);
    Browser::new().on(&forwarded).log_in(&behind);
    assert_eq!(logged(&behind), "198.51.100.1");
}

#[test]
fn behind_a_proxy_that_encrypts_the_cookie_stays_encrypted() {
    let fixture =
        Fixture::with(|options| options.trusted_proxies = vec!["203.0.113.9".parse().unwrap()]);
    let https = [
        ("x-forwarded-proto", "https"),
        ("sec-fetch-site", "same-origin"),
    ];
    let (_, headers, _) = Browser::new()
        .on(&https)
        .log_in_as(&fixture, EMAIL, PASSWORD);
    assert!(
        headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .ends_with("; Secure")
    );
}

#[test]
fn aliases_and_batches_try_one_password_a_request() {
    let fixture = Fixture::new();
    let tries: Vec<String> = (0..50)
        .map(|n| {
            let password = if n == 49 {
                PASSWORD.to_owned()
            } else {
                format!("guess {n}")
            };
            format!("a{n}: token(input: {{ email: \"{EMAIL}\", password: \"{password}\" }})")
        })
        .collect();
    let query = format!("mutation {{ {} }}", tries.join(" "));
    let mut browser = Browser::new();
    let (_, headers, answer) = browser.query(&fixture, &query);
    assert!(headers.get(header::SET_COOKIE).is_none(), "{answer}");
    let (_, headers, answer) = {
        let one = |password: &str| json!({ "query": format!("mutation {{ token(input: {{ email: \"{EMAIL}\", password: \"{password}\" }}) }}") });
        let body = json!([one("guess"), one(PASSWORD)]).to_string();
        let request = browser.request("POST", "/graphql", Some("application/json"), body);
        browser.send(&fixture, request)
    };
    assert!(headers.get(header::SET_COOKIE).is_none(), "{answer}");
    let failures = fixture
        .store
        .read(|snapshot| {
            snapshot.audits(&ferrocti_store::AuditQuery {
                scopes: vec!["login".to_owned()],
                limit: 1000,
                ..ferrocti_store::AuditQuery::default()
            })
        })
        .unwrap();
    assert_eq!(
        failures.len(),
        2,
        "one try of each request reached the passwords"
    );
}

#[test]
fn bodies_that_are_no_logins_are_refused_without_repeating_them() {
    let fixture = Fixture::new();
    for (kind, body, expected) in [
        (
            Some("application/json"),
            "{\"email\": \"geheim\"}",
            StatusCode::BAD_REQUEST,
        ),
        (Some("application/json"), "geheim", StatusCode::BAD_REQUEST),
        (
            Some("text/plain"),
            "{\"email\": \"geheim\", \"password\": \"geheim\"}",
            StatusCode::BAD_REQUEST,
        ),
        (None, "", StatusCode::BAD_REQUEST),
    ] {
        let mut browser = Browser::new();
        let request = browser.request("POST", "/auth/login", kind, body.to_owned());
        let (status, _, answer) = browser.send(&fixture, request);
        assert_eq!(status, expected, "{body}");
        assert!(!answer.to_string().contains("geheim"), "{answer}");
    }
    let mut browser = Browser::new();
    let long = json!({ "email": "a", "password": "x".repeat(1 << 20) }).to_string();
    let request = browser.request("POST", "/auth/login", Some("application/json"), long);
    assert_eq!(
        browser.send(&fixture, request).0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let request = browser.request("GET", "/auth/login", None, String::new());
    assert_eq!(
        browser.send(&fixture, request).0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[test]
fn the_audit_tells_logins_failures_and_logouts_with_their_address() {
    let fixture = Fixture::new();
    let mut browser = Browser::new();
    browser.log_in_as(&fixture, EMAIL, "wrong");
    browser.log_in(&fixture);
    let request = browser.request("POST", "/auth/logout", None, String::new());
    browser.send(&fixture, request);
    let query = ferrocti_store::AuditQuery {
        types: vec!["authentication".to_owned()],
        ascending: true,
        limit: 100,
        ..ferrocti_store::AuditQuery::default()
    };
    let entries = fixture
        .store
        .read(|snapshot| snapshot.audits(&query))
        .unwrap();
    let told: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.event_scope.as_str(), entry.status.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("login", "error"),
            ("login", "success"),
            ("logout", "success")
        ]
    );
    for entry in &entries {
        assert_eq!(entry.address.as_deref(), Some("203.0.113.9"), "{entry:?}");
        assert!(!format!("{entry:?}").contains("wrong"), "{entry:?}");
    }
}
