//! Why somebody may or may not do something, and which set-ups are dangerous.

use std::sync::Arc;

use ferrocti_access::explain::Verb;
use ferrocti_graphql::{FieldCall, Resolved};
use serde_json::json;

use super::record::{Record, Shown, value};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

impl Resolution<'_> {
    pub(super) fn access_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let acting = self.caller.acting()?;
        if call.name == "doctor" {
            let findings = accounts.doctor(&acting)?;
            return Ok(Resolved::nodes(findings.into_iter().map(|finding| {
                let data = json!({
                    "severity": finding.severity.name(),
                    "code": finding.code,
                    "subject": finding.subject,
                    "text": finding.text,
                    "remedy": finding.remedy,
                });
                Node::Data("Finding", data)
            })));
        }
        let action = call.text("action").unwrap_or_default();
        let verb = Verb::parse(action).ok_or_else(|| {
            let known: Vec<&str> = Verb::ALL.iter().map(|(name, _)| *name).collect();
            Fault::functional(format!(
                "\"{action}\" is no action; there are {}.",
                known.join(", ")
            ))
        })?;
        let object = call.text("object").unwrap_or_default();
        let told = accounts.explain(&acting, call.text("user"), verb, object)?;
        let reasons = told.explanation.reasons.into_iter().map(|reason| {
            let data =
                json!({ "rule": reason.rule, "allowed": reason.allowed, "text": reason.text });
            Node::Data("AccessReason", data)
        });
        Ok(Resolved::Node(Record::node(vec![
            ("allowed", value(told.explanation.allowed)),
            ("user", Shown::Node(Some(Node::User(Arc::new(told.user))))),
            ("action", value(verb.to_string())),
            ("object", value(told.object.to_string())),
            ("entity_type", value(told.entity_type)),
            ("reasons", Shown::Nodes(reasons.collect())),
        ])))
    }
}
