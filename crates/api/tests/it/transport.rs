//! HTTP: addresses, methods, bodies, batches, uploads, health.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::{ADMIN, Fixture};

const ABOUT: &str = r#"{"query":"query healthCheck { about { version } }","variables":{}}"#;

fn about(path: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
        .body(Body::from(ABOUT))
        .unwrap()
}

#[test]
fn the_api_is_found_with_doubled_slashes_and_under_the_base_path() {
    let fixture = Fixture::with(|options| options.base_path = "/cti".to_owned());
    for path in ["/graphql", "//graphql", "/cti/graphql", "/cti//graphql"] {
        let (status, headers, body) = fixture.send(about(path));
        assert_eq!(status, StatusCode::OK, "{path}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(
            answer["data"]["about"]["version"].is_string(),
            "{path}: {answer}"
        );
        assert!(headers.get(header::SET_COOKIE).is_none());
    }
    assert_eq!(fixture.send(about("/elsewhere")).0, StatusCode::NOT_FOUND);
}

#[test]
fn other_methods_are_refused_with_a_hint() {
    let fixture = Fixture::new();
    let (status, headers, body) =
        fixture.send(Request::get("/graphql").body(Body::empty()).unwrap());
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers[header::ALLOW], "POST");
    assert!(String::from_utf8(body).unwrap().contains("POST"));
}

#[test]
fn a_batch_is_answered_by_a_list() {
    let fixture = Fixture::with(|options| options.max_batch = 2);
    let bearer = format!("Bearer {ADMIN}");
    let one = json!({ "query": "{ about { version } }" });
    let (status, answer) = fixture.post_json(
        &json!([one, { "query": "{ nonsense }" }]),
        &[("authorization", &bearer)],
    );
    assert_eq!(status, 200);
    assert!(answer[0]["data"]["about"]["version"].is_string());
    assert_eq!(answer[1]["errors"][0]["name"], "GRAPHQL_VALIDATION_FAILED");
    let (status, _) = fixture.post_json(&json!([one, one, one]), &[("authorization", &bearer)]);
    assert_eq!(status, 400);
}

#[test]
fn bodies_that_are_no_requests_are_explained() {
    let fixture = Fixture::new();
    for (body, part) in [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "empty"),
        ("{}", "query"),
        ("\"x\"", "object"),
    ] {
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        let (status, _, answer) = fixture.send(request);
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(
            answer["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains(part),
            "{body}: {answer}"
        );
    }
    let deep = format!(
        "{{\"query\":\"{{a}}\",\"variables\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(deep))
        .unwrap();
    assert_eq!(fixture.send(request).0, StatusCode::BAD_REQUEST);
}

#[test]
fn a_query_of_depth_500_is_refused() {
    let fixture = Fixture::new();
    let query = format!(
        "{{ me {}{} }}",
        "{ groups { edges { node ".repeat(125),
        "} } }".repeat(125)
    );
    let (status, answer) = fixture.post_json(
        &json!({ "query": query }),
        &[("authorization", &format!("Bearer {ADMIN}"))],
    );
    assert_eq!(status, 400);
    assert_eq!(answer["errors"][0]["name"], "GRAPHQL_VALIDATION_FAILED");
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let fixture = Fixture::with(|options| options.max_body = 1000);
    let body = json!({ "query": "{ about { version } }", "variables": { "x": "y".repeat(2000) } })
        .to_string();
    let request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap();
    let (status, _, answer) = fixture.send(request);
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(String::from_utf8(answer).unwrap().contains("1000 bytes"));
}

#[test]
fn a_stranger_may_not_send_large_bodies() {
    let fixture = Fixture::new();
    let body =
        json!({ "query": "{ about { version } }", "variables": { "x": "y".repeat(2 << 20) } })
            .to_string();
    let send = |token: &str| {
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::from(body.clone()))
            .unwrap();
        fixture.send(request).0
    };
    assert_eq!(send("not-a-token"), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(send(ADMIN), StatusCode::OK);
}

#[test]
fn other_content_types_are_refused() {
    let fixture = Fixture::new();
    let request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from(ABOUT))
        .unwrap();
    assert_eq!(fixture.send(request).0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[test]
fn answers_are_compressed_for_clients_that_ask() {
    let fixture = Fixture::new();
    let mut request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
        .header(header::ACCEPT_ENCODING, "gzip");
    request = request.header(header::USER_AGENT, "pycti/7.260817.0");
    let body = json!({ "query": "{ vocabularyCategories { key entity_types fields { key } } }" })
        .to_string();
    let (status, headers, body) = fixture.send(request.body(Body::from(body)).unwrap());
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(body[..2], [0x1f, 0x8b]);
}

/// An upload as pycti sends it.
fn upload(operations: &Value, map: &Value) -> Request<Body> {
    upload_of("hello", operations, map)
}

fn upload_of(content: &str, operations: &Value, map: &Value) -> Request<Body> {
    let part = |name: &str, content: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let file = format!(
        "--b\r\nContent-Disposition: form-data; name=\"0\"; filename=\"a/ü.txt\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n--b--\r\n"
    );
    let body = format!(
        "{}{}{file}",
        part("operations", &operations.to_string()),
        part("map", &map.to_string())
    );
    Request::post("/graphql")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
        .body(Body::from(body))
        .unwrap()
}

#[test]
fn a_file_that_comes_with_an_object_is_refused_and_the_object_with_it() {
    let fixture = Fixture::new();
    let query = "mutation M($input: ExternalReferenceAddInput!) { externalReferenceAdd(input: $input) { id } }";
    let operations = json!({ "query": query, "variables": { "input": { "source_name": "report", "url": "https://example.org", "files": [null] } } });
    let (status, _, body) = fixture.send(upload(
        &operations,
        &json!({ "0": ["variables.input.files.0"] }),
    ));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(
        answer["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("file"),
        "{answer}"
    );
    let found = fixture.run(
        "{ externalReferences { pageInfo { globalCount } } }",
        json!({}),
    );
    assert_eq!(found["externalReferences"]["pageInfo"]["globalCount"], 0);
}

#[test]
fn an_upload_with_a_wrong_map_is_explained() {
    let fixture = Fixture::new();
    let operations = json!({ "query": "{ about { version } }", "variables": {} });
    let (status, _, body) = fixture.send(upload(&operations, &json!({ "0": ["variables.file"] })));
    // An unused variable is no error of the form.
    assert!(
        status == StatusCode::OK || status == StatusCode::BAD_REQUEST,
        "{}",
        String::from_utf8_lossy(&body)
    );
    let (status, _, _) = fixture.send(upload(&operations, &json!({ "7": ["variables.file"] })));
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[test]
fn an_upload_whose_document_is_not_valid_is_answered_like_a_plain_request() {
    let fixture = Fixture::new();
    let query = "mutation U($file: Upload!) { uploadNothing(file: $file) { id } }";
    let bearer = format!("Bearer {ADMIN}");
    let operations = json!({ "query": query, "variables": { "file": null } });
    let plain = fixture.post_json(&operations, &[("authorization", &bearer)]);
    assert_eq!(plain.1["errors"][0]["name"], "GRAPHQL_VALIDATION_FAILED");
    for map in [
        json!({ "0": ["variables.file"] }),
        json!({ "0": ["variables.nowhere.0"] }),
        json!({ "7": ["variables.file"] }),
        json!([]),
    ] {
        let (status, _, body) = fixture.send(upload(&operations, &map));
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, answer), plain, "{map}");
    }
    let large = "x".repeat(3 << 20);
    let map = json!({ "0": ["variables.file"] });
    let (status, _, body) = fixture.send(upload_of(&large, &operations, &map));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, answer), plain, "of any size");
}

#[test]
fn an_upload_that_breaks_off_says_what_is_missing() {
    let fixture = Fixture::new();
    let request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
        .body(Body::from(
            "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}",
        ))
        .unwrap();
    let (status, _, body) = fixture.send(request);
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("incomplete"), "{message}");
}

#[test]
fn a_draft_is_refused_instead_of_written_live() {
    let fixture = Fixture::new();
    let bearer = format!("Bearer {ADMIN}");
    let ask = |draft: &str| {
        fixture
            .post_json(
                &json!({ "query": "{ about { version } }" }),
                &[("authorization", &bearer), ("opencti-draft-id", draft)],
            )
            .1
    };
    assert!(ask("")["data"]["about"]["version"].is_string());
    assert_eq!(
        ask("0c5a3f5e-2f5b-4d0e-9b0e-6d1f0a2b3c4d")["errors"][0]["name"],
        "UNSUPPORTED_ERROR"
    );
}

#[test]
fn health_checks_the_store_and_the_queues() {
    let fixture = Fixture::with(|options| options.health_key = Some("secret".to_owned()));
    let health = |path: &str| fixture.send(Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(health("/health").0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        health("/health?health_access_key=wrong").0,
        StatusCode::UNAUTHORIZED
    );
    let (status, _, body) = health("/health?health_access_key=secret");
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap()["status"],
        "success"
    );
    fixture.queues.close();
    assert_eq!(
        health("/health?health_access_key=secret").0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[test]
fn metrics_are_there_only_when_switched_on() {
    let metrics =
        |fixture: &Fixture| fixture.send(Request::get("/metrics").body(Body::empty()).unwrap());
    assert_eq!(metrics(&Fixture::new()).0, StatusCode::NOT_FOUND);
    let fixture = Fixture::with(|options| options.metrics = true);
    fixture.malware("Emotet");
    let (status, _, body) = metrics(&fixture);
    assert_eq!(status, StatusCode::OK);
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("ferrocti_objects ")
    );
}
