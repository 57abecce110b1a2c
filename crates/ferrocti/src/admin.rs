//! Commands that work on accounts and files: through a running platform, or on the directory of a stopped one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrocti_accounts::Acting;
use serde_json::json;

use crate::{
    cli::{AddConnectorArgs, CheckArgs},
    client::Client,
    platform,
};

const ACCOUNT_ADD: &str = "mutation Add($name: String!, $max: Int, $marking: String) { connectorAccountAdd(name: $name, max_confidence: $max, max_marking: $marking) { user { id name user_email } token } }";

/// `ferrocti user add-connector`
pub fn add_connector(args: &AddConnectorArgs) -> Result<()> {
    let given = args
        .data_dir
        .clone()
        .or_else(|| args.remote.url.is_none().then(default_dir).flatten());
    match given {
        Some(dir) => add_in_directory(&dir, args),
        None => add_remotely(args),
    }
}

/// The directory from the environment, when it names one.
pub fn default_dir() -> Option<PathBuf> {
    std::env::var_os("FERROCTI_DATA_DIR")
        .filter(|dir| !dir.is_empty())
        .map(Into::into)
}

/// The data directory that is meant; it must be one.
pub fn directory(given: Option<&PathBuf>) -> Result<PathBuf> {
    let dir = given
        .cloned()
        .or_else(default_dir)
        .unwrap_or_else(|| "ferrocti-data".into());
    if !dir.join("ferrocti.db").exists() {
        bail!(
            "{} is not a data directory of Ferrocti; give the right one with --data-dir",
            dir.display()
        );
    }
    Ok(dir)
}

fn add_remotely(args: &AddConnectorArgs) -> Result<()> {
    let data = Client::new(&args.remote)?.call(
        ACCOUNT_ADD,
        json!({ "name": args.name, "max": args.max_confidence, "marking": args.max_marking }),
    )?;
    let added = &data["connectorAccountAdd"];
    let text = |pointer: &str| {
        added
            .pointer(pointer)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    print_account(
        args.remote.json,
        &text("/user/id"),
        &text("/user/name"),
        &text("/user/user_email"),
        &text("/token"),
    );
    Ok(())
}

fn add_in_directory(dir: &Path, args: &AddConnectorArgs) -> Result<()> {
    let store = platform::open_store(&directory(Some(&dir.to_owned()))?)?;
    let accounts = platform::accounts(&store);
    // whoever may write the directory is its administrator
    let (user, token) = accounts.add_connector(
        &Acting::of(&*accounts.system()?),
        &args.name,
        Some(args.max_confidence),
        args.max_marking.as_deref(),
    )?;
    let id = user.id.to_string();
    print_account(args.remote.json, &id, &user.name, &user.email, &token);
    Ok(())
}

fn print_account(json: bool, id: &str, name: &str, email: &str, token: &str) {
    if json {
        println!(
            "{}",
            json!({ "id": id, "name": name, "email": email, "token": token })
        );
    } else {
        println!("created {name} <{email}> (id {id})\ntoken, shown once: {token}");
    }
}

/// `ferrocti user reset-admin`
pub fn reset_admin(data_dir: Option<&PathBuf>, json: bool) -> Result<()> {
    let store = platform::open_store(&directory(data_dir)?)?;
    let generated = platform::accounts(&store).reset_admin("admin@ferrocti.local")?;
    let (password, token) = (
        generated.password.unwrap_or_default(),
        generated.token.unwrap_or_default(),
    );
    if json {
        println!("{}", json!({ "password": password, "token": token }));
    } else {
        println!(
            "the administrator's former password and tokens do not work any more; these are shown once:\n  password  {password}\n  token     {token}"
        );
    }
    Ok(())
}

/// `ferrocti check`
pub fn check(args: &CheckArgs) -> Result<()> {
    let dir = directory(args.data_dir.as_ref())?;
    let store = platform::open_store(&dir)?;
    let queues = platform::open_queues(&dir, None)?;
    let mut problems: Vec<String> = store
        .check()
        .context("the store cannot be checked")?
        .iter()
        .map(|problem| format!("{}: {}", problem.invariant, problem.detail))
        .collect();
    problems.extend(queues.check().context("the queues cannot be checked")?);
    if args.history {
        let broken = ferrocti_connectors::lease::check_history(&store, &queues)
            .context("the history cannot be checked")?;
        problems.extend(
            broken
                .iter()
                .map(|broken| format!("{}: {}", broken.invariant, broken.detail)),
        );
    }
    if args.json {
        println!(
            "{}",
            json!({ "sound": problems.is_empty(), "problems": problems })
        );
    } else if problems.is_empty() {
        println!("{}: store and queues are sound", dir.display());
    } else {
        for problem in &problems {
            println!("{problem}");
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        bail!(
            "{} problems; restore the directory from a backup",
            problems.len()
        )
    }
}
