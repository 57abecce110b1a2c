//! `ferrocti access explain` and `ferrocti doctor`: why somebody may or may not do something, and which set-ups are dangerous.

use anyhow::{Result, bail};
use ferrocti_accounts::Acting;
use serde_json::{Value, json};

use crate::{
    admin,
    cli::{AccessAction, AccessCommand, DoctorArgs},
    client::Client,
    lookup::{self, Kind},
    platform,
    print::{list, show, text},
};

const EXPLAIN: &str = "query Explain($user: ID!, $action: String!, $object: ID!) {
  accessExplain(user: $user, action: $action, object: $object) { allowed user { id name } action object reasons { rule allowed text } } }";

const DOCTOR: &str = "{ doctor { severity code subject text remedy } }";

/// `ferrocti access …`
pub fn run(command: &AccessCommand) -> Result<()> {
    let AccessCommand::Explain {
        user,
        action,
        object,
        remote,
    } = command;
    let client = Client::new(remote)?;
    let id = lookup::id(&client, Kind::User, user)?;
    let action = match action {
        AccessAction::Read => "read",
        AccessAction::Update => "update",
        AccessAction::Upsert => "upsert",
        AccessAction::Delete => "delete",
    };
    let variables = json!({ "user": id, "action": action, "object": object });
    let data = client.call(EXPLAIN, variables)?;
    show(remote, &data, |data| {
        let explained = &data["accessExplain"];
        println!(
            "{} {} {action} {object}:",
            text(&explained["user"]["name"]),
            if explained["allowed"] == true {
                "may"
            } else {
                "may not"
            }
        );
        for reason in list(&explained["reasons"]) {
            println!("{}", line(reason));
        }
    });
    Ok(())
}

/// One rule and what it says.
fn line(reason: &Value) -> String {
    format!(
        "  {}  {:10}  {}",
        if reason["allowed"] == true {
            "yes"
        } else {
            "NO "
        },
        text(&reason["rule"]),
        text(&reason["text"])
    )
}

/// `ferrocti doctor`: fails when there are dangerous findings.
pub fn doctor(args: &DoctorArgs) -> Result<()> {
    let given = args
        .data_dir
        .clone()
        .or_else(|| args.remote.url.is_none().then(admin::default_dir).flatten());
    let findings = match given {
        Some(dir) => {
            let store = platform::open_store(&admin::directory(Some(&dir))?)?;
            let accounts = platform::accounts(&store);
            // whoever may read the directory may know
            let system = accounts.system()?;
            serde_json::to_value(accounts.doctor(&Acting::of(&system))?)?
        }
        None => Client::new(&args.remote)?.call(DOCTOR, json!({}))?["doctor"].clone(),
    };
    let dangerous = list(&findings)
        .filter(|finding| finding["severity"] == "dangerous")
        .count();
    show(&args.remote, &json!({ "findings": findings }), |_| {
        if list(&findings).next().is_none() {
            println!("nothing to worry about");
        }
        for finding in list(&findings) {
            println!(
                "{:9}  {}\n           {}",
                text(&finding["severity"]),
                text(&finding["text"]),
                text(&finding["remedy"])
            );
        }
    });
    if dangerous > 0 {
        bail!("{dangerous} of the findings are dangerous");
    }
    Ok(())
}
