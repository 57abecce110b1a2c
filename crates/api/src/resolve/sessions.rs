//! Sessions of people who logged in with a password: login and logout as fields, lists, ends.

use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::Session;
use serde_json::{Value, json};

use super::record::{Record, Shown};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;
use crate::login::{log_in, log_out};

impl Resolution<'_> {
    /// Everybody's sessions.
    pub(super) fn sessions(&self) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let sessions = self.read(|snapshot| Ok(accounts.sessions(snapshot, None)?))?;
        let mut of_users: Vec<(i64, Vec<Node>)> = Vec::new();
        for session in &sessions {
            let node = self.detail(session);
            match of_users.iter_mut().find(|(user, _)| *user == session.user) {
                Some((_, nodes)) => nodes.push(node),
                None => of_users.push((session.user, vec![node])),
            }
        }
        let mut nodes = Vec::with_capacity(of_users.len());
        for (row, sessions) in of_users {
            let user = self.read(|snapshot| Ok(snapshot.user(row)?))?;
            nodes.push(Record::node(vec![
                (
                    "user",
                    Shown::Node(user.map(|user| Node::User(Arc::new(user)))),
                ),
                ("sessions", Shown::Nodes(sessions)),
            ]));
        }
        Ok(Resolved::nodes(nodes))
    }

    /// The sessions of a user.
    pub(super) fn sessions_of<'p>(&self, user: i64) -> Answer<'p> {
        let accounts = &self.state.services().accounts;
        let sessions = self.read(|snapshot| Ok(accounts.sessions(snapshot, Some(user))?))?;
        Ok(Resolved::nodes(
            sessions.iter().map(|session| self.detail(session)),
        ))
    }

    fn detail(&self, session: &Session) -> Node {
        let services = self.state.services();
        let idle = session.used_at + services.accounts.session_idle();
        let left = session.expires_at.min(idle) - services.clock.now();
        let data = json!({
            "id": session.id,
            "created": format_date(session.created_at),
            "ttl": left.max(0) / 1000,
            "originalMaxAge": (session.expires_at - session.created_at) / 1000,
        });
        Node::Data("SessionDetail", data)
    }

    pub(super) fn session_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let accounts = &self.state.services().accounts;
        let id = call.text("id").unwrap_or_default();
        Ok(match call.name {
            "token" => {
                let text = |name: &str| call.argument("input")?.get(name)?.as_str();
                let (Some(email), Some(password)) = (text("email"), text("password")) else {
                    return Err(Fault::functional("A login needs an email and a password."));
                };
                let opened = log_in(self.state, self.caller, email, password)?;
                // what proves the session is in the cookie alone: this id opens nothing
                Resolved::leaf(opened.session.id.to_string())
            }
            "logout" => {
                let user = self.actor()?.user_id;
                log_out(self.state, self.caller)?;
                Resolved::leaf(user.to_string())
            }
            "sessionKill" => {
                let killed = accounts.kill_session(&self.caller.acting()?, id)?;
                Resolved::leaf(killed.to_string())
            }
            _ => {
                let killed = accounts.kill_sessions_of(&self.caller.acting()?, id)?;
                let ids: Vec<String> = killed.iter().map(ToString::to_string).collect();
                Resolved::leaf(Value::from(ids))
            }
        })
    }
}
