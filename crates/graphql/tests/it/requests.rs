//! Request bodies and uploads.

use ferrocti_graphql::{Request, RequestError, Requests, Response, multipart};
use serde_json::{Value, json};

use crate::world::{World, codes, engine};

/// The request of an upload with its files in place.
fn assemble<S: AsRef<str>>(
    operations: &[u8],
    map: &[u8],
    files: &[S],
) -> Result<Request, RequestError> {
    let mut request = multipart::read(operations)?;
    multipart::place(&mut request, map, files)?;
    Ok(request)
}

#[test]
fn a_body_is_read_with_and_without_its_optional_members() {
    let full = Request::from_json(br#"{"query": "{ me { id } }", "variables": {"a": 1}, "operationName": "X", "extensions": {}}"#).unwrap();
    assert_eq!(full.query, "{ me { id } }");
    assert_eq!(full.variables["a"], 1);
    assert_eq!(full.operation_name.as_deref(), Some("X"));
    let least = Request::from_json(
        br#"{"query": "{ me { id } }", "variables": null, "operationName": null}"#,
    )
    .unwrap();
    assert!(least.variables.is_empty() && least.operation_name.is_none());
}

#[test]
fn bodies_that_are_no_requests_say_why() {
    let deep = format!(
        "{{\"query\": \"x\", \"variables\": {{\"a\": {}1{}}}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    let cases: [(&[u8], &str); 11] = [
        (b"", "not valid JSON"),
        (b"{\"query\": ", "not valid JSON: EOF"),
        (b"not json", "not valid JSON"),
        (
            b"{\"query\": \"\xff\xfe\"}",
            "not UTF-8 text (first invalid byte at 11)",
        ),
        (b"{}", "has no \"query\""),
        (b"{\"query\": \"  \"}", "has no \"query\""),
        (b"{\"query\": 5}", "\"query\" must be a string"),
        (
            b"{\"query\": \"x\", \"variables\": []}",
            "\"variables\" must be an object",
        ),
        (
            b"{\"query\": \"x\", \"operationName\": 5}",
            "\"operationName\" must be a string",
        ),
        (b"\"query\"", "must be a JSON object"),
        (deep.as_bytes(), "recursion limit"),
    ];
    for (body, part) in cases {
        let error = Request::from_json(body).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        let response = Response::from(error);
        assert_eq!(response.status, 400);
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(answer["data"], Value::Null);
        assert_eq!(codes(&answer), ["BAD_REQUEST"]);
    }
}

#[test]
fn a_batch_is_bounded_and_answered_by_a_list() {
    let body = br#"[{"query": "{ me { id } }"}, {"query": "{ nothing }"}]"#;
    let Ok(Requests::Batch(requests)) = Requests::from_json(body, 2) else {
        panic!("a batch")
    };
    let (engine, world) = (engine(), World::new());
    let response = Response::batch(
        requests
            .into_iter()
            .map(|request| engine.run(request, &world))
            .collect(),
    );
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer[0], json!({"data": {"me": {"id": "p1"}}}));
    assert_eq!(codes(&answer[1]), ["GRAPHQL_VALIDATION_FAILED"]);
    assert_eq!(response.errors.len(), 1);
    assert_eq!(
        Requests::from_json(body, 1),
        Err(RequestError::BatchTooLarge { found: 2, max: 1 })
    );
    assert!(Requests::from_json(b"[]", 5).is_err());
    assert!(Requests::from_json(b"[[]]", 5).is_err());
    assert!(matches!(
        Requests::from_json(br#"{"query": "x"}"#, 1),
        Ok(Requests::One(_))
    ));
}

const SINGLE: &str = "mutation($file: Upload!) { echo(file: $file) }";
const LIST: &str = "mutation($files: [Upload!]!) { echo(files: $files) }";
const MIXED: &str =
    "mutation($file: Upload, $files: [Upload!]) { echo(file: $file, files: $files) }";
const INPUT: &str = "mutation($input: AddInput) { echo(input: $input) }";

/// Sends an upload and returns what the resolver got.
fn upload(query: &str, variables: &Value, map: &Value, files: usize) -> Value {
    let operations = json!({"query": query, "variables": variables}).to_string();
    let names: Vec<String> = (0..files).map(|file| file.to_string()).collect();
    let request = assemble(operations.as_bytes(), map.to_string().as_bytes(), &names).unwrap();
    let answer: Value = serde_json::from_slice(&engine().run(request, &World::new()).body).unwrap();
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    answer["data"]["echo"].clone()
}

#[test]
fn files_reach_the_arguments_that_the_map_names() {
    assert_eq!(
        upload(
            SINGLE,
            &json!({"file": null}),
            &json!({"0": ["variables.file"]}),
            1
        ),
        json!({"file": 0})
    );
    let two = json!({"0": ["variables.files.0"], "1": ["variables.files.1"]});
    assert_eq!(
        upload(LIST, &json!({"files": [null, null]}), &two, 2),
        json!({"files": [0, 1]})
    );
    let swapped = json!({"0": ["variables.files.1"], "1": ["variables.files.0"]});
    assert_eq!(
        upload(LIST, &json!({"files": [null, null]}), &swapped, 2),
        json!({"files": [1, 0]})
    );
    let nested = json!({"0": ["variables.input.files.0"], "1": ["variables.input.file"]});
    let got = upload(
        INPUT,
        &json!({"input": {"name": "ab", "files": [null], "file": null}}),
        &nested,
        2,
    );
    assert_eq!(
        (&got["input"]["files"], &got["input"]["file"]),
        (&json!([0]), &json!(1))
    );
    // One part used twice.
    assert_eq!(
        upload(
            MIXED,
            &json!({"file": null, "files": [null]}),
            &json!({"0": ["variables.file", "variables.files.0"]}),
            1
        ),
        json!({"file": 0, "files": [0]})
    );
}

#[test]
fn list_positions_that_count_all_files_are_filled_in_order() {
    // The client numbered the file of `file` too, so the list's positions start at 1.
    let map =
        json!({"0": ["variables.file"], "1": ["variables.files.1"], "2": ["variables.files.2"]});
    assert_eq!(
        upload(
            MIXED,
            &json!({"file": null, "files": [null, null]}),
            &map,
            3
        ),
        json!({"file": 0, "files": [1, 2]})
    );
    let far = json!({"0": ["variables.input.files.7"], "1": ["variables.input.files.9"]});
    let got = upload(
        INPUT,
        &json!({"input": {"name": "ab", "files": [null, null]}}),
        &far,
        2,
    );
    assert_eq!(got["input"]["files"], json!([0, 1]));
}

#[test]
fn a_single_file_in_a_list_position_becomes_a_list() {
    let got = upload(
        INPUT,
        &json!({"input": {"name": "ab", "files": null}}),
        &json!({"0": ["variables.input.files"]}),
        1,
    );
    assert_eq!(got["input"]["files"], json!([0]));
    let got = upload(
        LIST,
        &json!({"files": [null]}),
        &json!({"0": ["variables.files"]}),
        1,
    );
    assert_eq!(got, json!({"files": [0]}));
    // The variable was left out altogether.
    assert_eq!(
        upload(SINGLE, &json!({}), &json!({"0": ["variables.file"]}), 1),
        json!({"file": 0})
    );
}

#[test]
fn part_names_are_free() {
    let operations = json!({"query": SINGLE, "variables": {"file": null}}).to_string();
    let request = assemble(
        operations.as_bytes(),
        br#"{"report": ["variables.file"]}"#,
        &["other", "report"],
    )
    .unwrap();
    let answer: Value = serde_json::from_slice(&engine().run(request, &World::new()).body).unwrap();
    assert_eq!(answer["data"]["echo"], json!({"file": 1}));
}

#[test]
fn plain_json_cannot_forge_an_upload() {
    for value in [json!(0), json!({"__upload": 0}), json!("0"), json!([0])] {
        for query in [SINGLE, MIXED] {
            let request = Request::new(
                query,
                [("file".to_owned(), value.clone())].into_iter().collect(),
            );
            let answer: Value =
                serde_json::from_slice(&engine().run(request, &World::new()).body).unwrap();
            assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{value}");
            assert!(
                answer["errors"][0]["message"]
                    .as_str()
                    .unwrap()
                    .contains("multipart")
            );
        }
    }
    let literal = Request::new("mutation { echo(file: 0) }", serde_json::Map::new());
    let answer: Value = serde_json::from_slice(&engine().run(literal, &World::new()).body).unwrap();
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"]);
    // A multipart request cannot slip in a second one beside its own.
    let operations = json!({"query": LIST, "variables": {"files": [null, 0]}}).to_string();
    let request = assemble(
        operations.as_bytes(),
        br#"{"0": ["variables.files.0"]}"#,
        &["0"],
    )
    .unwrap();
    let answer: Value = serde_json::from_slice(&engine().run(request, &World::new()).body).unwrap();
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"]);
}

#[test]
fn maps_that_do_not_fit_say_why() {
    let cases = [
        (
            json!({"file": null}),
            json!({"1": ["variables.file"]}),
            "no file part \"1\"",
        ),
        (
            json!({"file": null}),
            json!({"0": "variables.file"}),
            "not a list",
        ),
        (json!({"file": null}), json!({"0": [1]}), "not a string"),
        (
            json!({"file": null}),
            json!({"0": ["file"]}),
            "does not start with",
        ),
        (
            json!({"file": null}),
            json!({"0": ["variables"]}),
            "names no variable",
        ),
        (
            json!({"file": null}),
            json!({"0": ["variables..x"]}),
            "empty segment",
        ),
        (
            json!({"file": 5}),
            json!({"0": ["variables.file"]}),
            "do not hold null",
        ),
        (
            json!({"a": {}}),
            json!({"0": ["variables.a.b.c"]}),
            "have no",
        ),
        (
            json!({"files": [null]}),
            json!({"0": ["variables.files.x"]}),
            "not a list position",
        ),
        (
            json!({"files": [null]}),
            json!({"0": ["variables.files.0", "variables.files.1"]}),
            "room for 1",
        ),
        (
            json!({"files": []}),
            json!({"0": ["variables.files"]}),
            "no free position",
        ),
        (json!({}), json!([]), "must be an object"),
    ];
    for (variables, map, part) in cases {
        let operations = json!({"query": SINGLE, "variables": variables}).to_string();
        let error =
            assemble(operations.as_bytes(), map.to_string().as_bytes(), &["0"]).unwrap_err();
        assert!(error.to_string().contains(part), "{map}: {error}");
    }
    let batch = assemble(b"[]", b"{}", &["0"]).unwrap_err();
    assert!(batch.to_string().contains("batch"));
    assert!(assemble(b"{", b"{}", &["0"]).is_err());
    assert!(assemble(br#"{"query": "x"}"#, b"\xff", &["0"]).is_err());
}
