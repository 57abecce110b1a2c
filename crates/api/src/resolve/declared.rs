//! Declarative files: what would be done for one, and doing it.

use std::collections::BTreeMap;

use ferrocti_catalog::Secret;
use ferrocti_connectors::declared::{Files, FilesError, Sent, Step};
use ferrocti_graphql::{FieldCall, Resolved};
use serde_json::{Value, json};

use super::{Answer, Node, Resolution};
use crate::fault::Fault;

impl Resolution<'_> {
    pub(super) fn plan_file(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let secrets = secrets(call);
        let plan = self
            .files()
            .plan(self.caller.acting()?, sent(call, &secrets))?;
        Ok(Resolved::Node(Node::Data(
            "DeclaredPlan",
            json!({
                "steps": steps(&plan.steps),
                "hash": plan.hash,
                "removals": plan.removals(),
                "changed": plan.changed(),
            }),
        )))
    }

    pub(super) fn apply_file(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let secrets = secrets(call);
        let hash = call.text("hash").unwrap_or_default();
        let removals = call
            .argument("allow_removals")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let acting = self.caller.acting()?;
        let applied = self
            .files()
            .apply(acting, sent(call, &secrets), hash, removals)?;
        let failures: Vec<Value> = applied
            .failures
            .iter()
            .map(|failure| json!({ "name": failure.name, "error": failure.error }))
            .collect();
        Ok(Resolved::Node(Node::Data(
            "DeclaredResult",
            json!({ "steps": steps(&applied.steps), "failures": failures }),
        )))
    }

    fn files(&self) -> Files {
        let services = self.state.services();
        Files::new(
            services.connectors.clone(),
            services.catalogs.clone(),
            services.accounts.clone(),
        )
    }
}

/// The secrets that come with a file.
fn secrets(call: &FieldCall<'_>) -> BTreeMap<String, Secret> {
    let list = call.argument("secrets").and_then(Value::as_array);
    let pair = |secret: &Value| {
        let reference = secret["reference"].as_str()?.to_owned();
        Some((reference, Secret::from(secret["value"].as_str()?)))
    };
    list.into_iter().flatten().filter_map(pair).collect()
}

fn sent<'a>(call: &'a FieldCall<'_>, secrets: &'a BTreeMap<String, Secret>) -> Sent<'a> {
    Sent {
        text: call.text("file").unwrap_or_default(),
        secrets,
    }
}

fn steps(steps: &[Step]) -> Vec<Value> {
    let shown = steps.iter().map(|step| {
        let changes: Vec<Value> = step
            .changes
            .iter()
            .map(|change| json!({ "path": change.path, "before": change.before, "after": change.after }))
            .collect();
        json!({
            "action": step.action.name(),
            "name": step.name,
            "connector_id": step.id,
            "changes": changes,
            "notices": step.notices,
            "problem": step.problem,
        })
    });
    shown.collect()
}

impl From<FilesError> for Fault {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Connectors(error) => error.into(),
            other => Self::new(other.code(), other.to_string()),
        }
    }
}
