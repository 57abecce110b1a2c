//! `ferrocti import`: sends bundles through the platform's API, watches their works, and tells what became of every object.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ferrocti_accounts::ids::importer_id;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{cli::ImportArgs, client::Client, wait};

const ME: &str = "query Me { me { id } }";
const REGISTER: &str =
    "mutation Register($input: RegisterConnectorInput) { registerConnector(input: $input) { id } }";
const WORK_ADD: &str = "mutation WorkAdd($connectorId: String!, $friendlyName: String) { workAdd(connectorId: $connectorId, friendlyName: $friendlyName) { id } }";
const PUSH: &str = "mutation Push($connectorId: String!, $bundle: String!, $work: String) { stixBundlePush(connectorId: $connectorId, bundle: $bundle, work_id: $work) }";
const PROCESSED: &str = "mutation Processed($id: ID!, $message: String) { workEdit(id: $id) { toProcessed(message: $message) } }";
const WORK: &str = "query Work($id: ID!) { work(id: $id) { status tracking { import_expected_number import_processed_number import_partial_number } messages { message } partially_applied { message object_id } errors { message source } } }";

/// What became of one file.
struct Outcome {
    file: String,
    work: String,
    expected: u64,
    processed: u64,
    complete: bool,
    messages: Vec<String>,
    /// Objects of which a part was not applied, and what is told of them.
    partial: u64,
    parts: Vec<String>,
    errors: Vec<(String, String)>,
}

/// Runs the command. Fails when a file cannot be sent, or when objects were refused.
pub fn run(args: &ImportArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    for file in &args.files {
        std::fs::File::open(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    }
    let connector = connector(&client)?.to_string();
    let input = json!({ "id": connector, "name": "Command line import", "type": "EXTERNAL_IMPORT", "scope": ["application/json"] });
    client.call(REGISTER, json!({ "input": input }))?;
    let mut refused = 0;
    let mut outcomes = Vec::new();
    for file in &args.files {
        let outcome = import(&client, &connector, file, args)
            .with_context(|| format!("{}", file.display()))?;
        refused += outcome.errors.len();
        if !args.remote.json {
            print_outcome(&outcome, args.no_wait);
        }
        outcomes.push(outcome);
    }
    if args.remote.json {
        let files: Vec<Value> = outcomes.iter().map(as_json).collect();
        println!("{}", json!({ "files": files, "refused": refused }));
    }
    if refused > 0 {
        bail!("{refused} objects were refused; everything else is stored");
    }
    Ok(())
}

/// The importer is a connector like any other. Its id follows from the user's, so that all imports of a user are listed under the same name
/// and no user is in the way of another.
fn connector(client: &Client) -> Result<Uuid> {
    let data = client.call(ME, json!({}))?;
    let user = data["me"]["id"].as_str().and_then(|id| id.parse().ok());
    Ok(importer_id(user.context(
        "the platform does not say who the token belongs to; is it of another version?",
    )?))
}

fn import(client: &Client, connector: &str, file: &Path, args: &ImportArgs) -> Result<Outcome> {
    let text = std::fs::read_to_string(file).context("cannot be read as UTF-8 text")?;
    let name = file.file_name().map_or_else(
        || file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    let added = client.call(
        WORK_ADD,
        json!({ "connectorId": connector, "friendlyName": format!("Import of {name}") }),
    )?;
    let work = added["workAdd"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    client.call(
        PUSH,
        json!({ "connectorId": connector, "bundle": text, "work": work }),
    )?;
    client.call(PROCESSED, json!({ "id": work, "message": "sent" }))?;
    let mut outcome = Outcome {
        file: name,
        work,
        expected: 0,
        processed: 0,
        complete: false,
        messages: Vec::new(),
        partial: 0,
        parts: Vec::new(),
        errors: Vec::new(),
    };
    let bar = if args.remote.json {
        ProgressBar::hidden()
    } else {
        progress_bar(&outcome.file)
    };
    wait::until(|| {
        update(client, &mut outcome)?;
        bar.set_length(outcome.expected);
        bar.set_position(outcome.processed);
        anyhow::Ok((outcome.complete || args.no_wait).then_some(()))
    })?;
    bar.finish_and_clear();
    Ok(outcome)
}

fn update(client: &Client, outcome: &mut Outcome) -> Result<()> {
    let data = client.call(WORK, json!({ "id": outcome.work }))?;
    let work = &data["work"];
    if work.is_null() {
        bail!(
            "the work {} is gone: somebody deleted it, and with it what was not ingested yet",
            outcome.work
        );
    }
    outcome.expected = work["tracking"]["import_expected_number"]
        .as_u64()
        .unwrap_or(0);
    outcome.processed = work["tracking"]["import_processed_number"]
        .as_u64()
        .unwrap_or(0);
    outcome.complete = work["status"] == "complete";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| work[name].as_array().cloned().unwrap_or_default();
    outcome.messages = list("messages")
        .iter()
        .map(|note| text(&note["message"]))
        .collect();
    outcome.partial = work["tracking"]["import_partial_number"]
        .as_u64()
        .unwrap_or(0);
    outcome.parts = list("partially_applied")
        .iter()
        .map(|note| text(&note["message"]))
        .collect();
    outcome.errors = list("errors")
        .iter()
        .map(|note| (text(&note["message"]), text(&note["source"])))
        .collect();
    Ok(())
}

fn progress_bar(file: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} objects, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_message(file.to_owned());
    bar
}

fn print_outcome(outcome: &Outcome, sent_only: bool) {
    if sent_only && !outcome.complete {
        println!(
            "{}: accepted, {} objects; work {}",
            outcome.file, outcome.expected, outcome.work
        );
        return;
    }
    println!(
        "{}: {} objects processed, {} applied in part, {} refused",
        outcome.file,
        outcome.processed,
        outcome.partial,
        outcome.errors.len()
    );
    for part in &outcome.parts {
        println!("  in part: {part}");
    }
    for (message, _) in &outcome.errors {
        println!("  refused: {message}");
    }
}

fn as_json(outcome: &Outcome) -> Value {
    let errors: Vec<Value> = outcome
        .errors
        .iter()
        .map(|(message, source)| json!({ "message": message, "source": source }))
        .collect();
    json!({
        "file": outcome.file,
        "work": outcome.work,
        "expected": outcome.expected,
        "processed": outcome.processed,
        "complete": outcome.complete,
        "messages": outcome.messages,
        "partial": outcome.partial,
        "partially_applied": outcome.parts,
        "errors": errors,
    })
}
