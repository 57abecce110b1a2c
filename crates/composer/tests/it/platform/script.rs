//! A server that answers request after request as it is told, and remembers what it was asked.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// What is done with one request.
#[derive(Debug, Clone)]
pub enum Step {
    /// An answer with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// An answer that promises more than it sends.
    Cut(String),
    /// The connection is closed without a word.
    Close,
    /// Nothing, for as long as the other side waits.
    Silence,
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and path with query.
    pub line: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The name of the operation.
    pub fn operation(&self) -> &str {
        self.body["operationName"].as_str().unwrap_or_default()
    }
}

pub struct Server {
    pub url: String,
    steps: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A GraphQL answer of one field.
pub fn data(field: &str, value: Value) -> Step {
    json_step(json!({ "data": { field: value } }))
}

pub fn json_step(body: Value) -> Step {
    Step::Answer(200, Vec::new(), body.to_string())
}

/// An error as upstream tells it.
pub fn refusal(code: &str, message: &str) -> Step {
    json_step(json!({
        "errors": [{ "message": message, "name": code, "extensions": { "code": code } }],
        "data": null,
    }))
}

/// What upstream answers to a field that it does not have.
pub fn unknown_field(field: &str) -> Step {
    let message = format!("Cannot query field \"{field}\" on type \"Query\".");
    let body = json!({ "errors": [{ "message": message, "extensions": { "code": "GRAPHQL_VALIDATION_FAILED" } }] });
    Step::Answer(400, Vec::new(), body.to_string())
}

impl Server {
    pub fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            steps: Arc::new(Mutex::new(steps.into_iter().collect())),
            asked: Arc::default(),
        };
        let (steps, asked) = (server.steps.clone(), server.asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (steps, asked) = (steps.clone(), asked.clone());
                thread::spawn(move || while serve(&stream, &steps, &asked) {});
            }
        });
        server
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The names of the operations so far.
    pub fn operations(&self) -> Vec<String> {
        let asked = self.asked();
        asked.iter().map(|a| a.operation().to_owned()).collect()
    }
}

/// Answers one request; whether the connection goes on.
fn serve(stream: &TcpStream, steps: &Mutex<VecDeque<Step>>, asked: &Mutex<Vec<Asked>>) -> bool {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else {
        return false;
    };
    asked.lock().unwrap().push(request);
    let step = steps.lock().unwrap().pop_front();
    let mut stream = stream;
    match step.unwrap_or(Step::Answer(
        500,
        Vec::new(),
        "the script is over".to_owned(),
    )) {
        Step::Answer(status, headers, body) => {
            let mut head = format!(
                "HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n",
                body.len()
            );
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let written = stream.write_all(format!("{head}\r\n{body}").as_bytes());
            written.is_ok()
        }
        Step::Cut(part) => {
            let _ = write!(
                stream,
                "HTTP/1.1 200 Told\r\ncontent-length: 100000\r\n\r\n{part}"
            );
            let _ = stream.shutdown(std::net::Shutdown::Both);
            false
        }
        Step::Close => {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            false
        }
        Step::Silence => {
            // the other side ends it
            let _ = reader.read(&mut [0]);
            false
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        headers.push((name, value.to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
