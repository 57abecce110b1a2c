//! The start of a connection: protocol header, login, negotiation of limits, virtual host.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::admission::Admission;
use super::auth::Principal;
use super::codec::{self, FRAME_MIN_SIZE, FrameKind, PROTOCOL_HEADER, short};
use super::error::{Fault, reply};
use super::metrics::count;
use super::session::{ClientAbilities, Flow, Session};

/// The only virtual host.
const VIRTUAL_HOST: &str = "/";

impl Session {
    /// Leads the client to an open connection.
    pub async fn shake_hands(&mut self) -> Result<Flow, Fault> {
        let Some(header) = self.read_exactly(PROTOCOL_HEADER.len()).await else {
            return Ok(Flow::End);
        };
        if header[..] != PROTOCOL_HEADER {
            // the specification's answer to another protocol or version is the header that would have been right
            self.connection
                .outbox
                .push(|out| out.extend_from_slice(&PROTOCOL_HEADER));
            return Ok(Flow::End);
        }
        self.say(connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(),
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        }));
        let connection::AMQPMethod::StartOk(start) = self.hear().await? else {
            return Err(out_of_order("connection.start-ok"));
        };
        self.client = client_abilities(&start.client_properties);
        if start.mechanism.as_str() != "PLAIN" {
            let text = format!(
                "login mechanism '{}' is not offered; use PLAIN",
                start.mechanism
            );
            return self.refuse_login(Fault::connection(reply::ACCESS_REFUSED, text));
        }
        if let Some(refused) = self.log_in(start.response.as_bytes()).await {
            return self.refuse_login(refused);
        }
        // from here on nobody who has not logged in can push it out
        let limit = self.broker.options.max_connections;
        self.broker.connections.admit(&self.connection, limit);
        self.tune().await?;
        let connection::AMQPMethod::Open(open) = self.hear().await? else {
            return Err(out_of_order("connection.open"));
        };
        if open.virtual_host.as_str() != VIRTUAL_HOST {
            return Err(Fault::connection(
                reply::NOT_ALLOWED,
                format!("vhost {} not found", open.virtual_host),
            ));
        }
        match self.broker.connections.admit(&self.connection, limit) {
            Admission::Admitted => {}
            Admission::GivenUp => return Ok(Flow::End),
            Admission::Full => {
                count(&self.broker.counters.refused);
                tracing::warn!(peer = %self.connection.peer, user = %self.user, limit, "too many AMQP connections, this one is refused");
                return Err(Fault::connection(
                    reply::NOT_ALLOWED,
                    format!(
                        "connection limit ({limit}) is reached; close connections that are not used"
                    ),
                ));
            }
        }
        self.say(connection::AMQPMethod::OpenOk(connection::OpenOk {}));
        tracing::debug!(peer = %self.connection.peer, user = %self.user, "AMQP connection opened");
        Ok(Flow::Continue)
    }

    fn say(&self, method: connection::AMQPMethod) {
        self.connection
            .outbox
            .push(|out| codec::put_method(out, 0, AMQPClass::Connection(method)));
    }

    /// The client's next connection method.
    async fn hear(&mut self) -> Result<connection::AMQPMethod, Fault> {
        loop {
            let gone = || Fault::connection(reply::CONNECTION_FORCED, "the client has left");
            let frame = self.read_frame().await?.ok_or_else(gone)?;
            match frame.kind {
                FrameKind::Heartbeat => {}
                FrameKind::Method if frame.channel == 0 => {
                    let id = codec::method_id(&frame.payload);
                    return match codec::decode_method(&frame.payload)?.class {
                        AMQPClass::Connection(method) => Ok(method),
                        _ => Err(Fault::connection(
                            reply::COMMAND_INVALID,
                            "expected a connection method during the handshake",
                        )
                        .at(id)),
                    };
                }
                _ => {
                    return Err(Fault::connection(
                        reply::UNEXPECTED_FRAME,
                        "expected a connection method during the handshake",
                    ));
                }
            }
        }
    }

    /// Answers why the login is refused. The response of PLAIN is an identity to act for, the user and the password, separated by zeroes.
    async fn log_in(&mut self, response: &[u8]) -> Option<Fault> {
        let mut parts = response.split(|octet| *octet == 0).map(std::str::from_utf8);
        let (Some(Ok(_)), Some(Ok(user)), Some(Ok(password)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Some(Fault::connection(
                reply::ACCESS_REFUSED,
                "the response of PLAIN must be an identity, a user and a password",
            ));
        };
        let (authenticator, peer) = (Arc::clone(&self.broker.authenticator), self.connection.peer);
        let (name, password) = (user.to_owned(), password.to_owned());
        // checking a password may take much memory and time on purpose, so few are checked at the same time; the turn lasts until
        // the check has ended, also when the client is given up meanwhile
        let turn = Arc::clone(&self.broker.logins).acquire_owned().await;
        let check = move || {
            let principal = authenticator.authenticate(&name, &password, peer);
            drop(turn);
            principal
        };
        let principal: Option<Principal> =
            tokio::task::spawn_blocking(check).await.unwrap_or_default();
        match principal {
            Some(principal) => {
                self.principal = principal;
                user.clone_into(&mut self.user);
                self.connection.set_user(user);
                // it may have changed hands since the password was looked at; from here on it is found among the connections
                let current = self.broker.queues.is_current(self.principal.author());
                (!current).then(|| {
                    Fault::connection(
                        reply::ACCESS_REFUSED,
                        "the credentials of this connection have been revoked",
                    )
                })
            }
            None => {
                count(&self.broker.counters.failed_logins);
                tracing::warn!(%peer, user, "AMQP login refused");
                // slows down guessing, and hides how long the check took
                tokio::time::sleep(self.broker.options.login_delay).await;
                Some(Fault::connection(
                    reply::ACCESS_REFUSED,
                    "Login was refused using authentication mechanism PLAIN.",
                ))
            }
        }
    }

    /// A client that does not know the close for this reason only sees the connection end.
    fn refuse_login(&self, fault: Fault) -> Result<Flow, Fault> {
        if self.client.authentication_failure_close {
            Err(fault)
        } else {
            Ok(Flow::End)
        }
    }

    async fn tune(&mut self) -> Result<(), Fault> {
        let (channel_max, frame_max) = (
            self.broker.options.channel_max,
            self.broker.options.frame_max,
        );
        let heartbeat = u16::try_from(self.broker.options.heartbeat.as_secs()).unwrap_or(u16::MAX);
        self.say(connection::AMQPMethod::Tune(connection::Tune {
            channel_max,
            frame_max,
            heartbeat,
        }));
        let connection::AMQPMethod::TuneOk(tune) = self.hear().await? else {
            return Err(out_of_order("connection.tune-ok"));
        };
        let refused = |what: &str, asked: u32, bound: &str, limit: u32| {
            let text = format!("negotiated {what} = {asked} is {bound} allowed value ({limit})");
            Err(Fault::connection(reply::NOT_ALLOWED, text))
        };
        // zero leaves the choice to the server
        match tune.frame_max {
            0 => {}
            asked if asked > frame_max => {
                return refused("frame_max", asked, "higher than the maximum", frame_max);
            }
            asked if asked < FRAME_MIN_SIZE => {
                return refused("frame_max", asked, "lower than the minimum", FRAME_MIN_SIZE);
            }
            asked => self.connection.set_frame_max(asked as usize),
        }
        match tune.channel_max {
            0 => {}
            asked if asked > channel_max => {
                return refused(
                    "channel_max",
                    asked.into(),
                    "higher than the maximum",
                    channel_max.into(),
                );
            }
            asked => self.channel_max = asked,
        }
        // the client's value holds; zero switches heartbeats off
        self.heartbeat = Duration::from_secs(tune.heartbeat.into());
        self.connection.outbox.set_heartbeat(self.heartbeat / 2);
        Ok(())
    }
}

fn out_of_order(expected: &str) -> Fault {
    Fault::connection(reply::COMMAND_INVALID, format!("expected '{expected}'"))
}

fn server_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for (name, able) in [
        ("publisher_confirms", true),
        ("basic.nack", true),
        ("consumer_cancel_notify", true),
        ("per_consumer_qos", true),
        ("authentication_failure_close", true),
        ("exchange_exchange_bindings", false),
        ("consumer_priorities", false),
        ("direct_reply_to", false),
        ("connection.blocked", false),
    ] {
        capabilities.insert(short(name), AMQPValue::Boolean(able));
    }
    let mut properties = FieldTable::default();
    for (name, value) in [
        ("product", "Ferrocti"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", "Rust"),
    ] {
        properties.insert(short(name), AMQPValue::LongString(value.into()));
    }
    properties.insert(short("capabilities"), AMQPValue::FieldTable(capabilities));
    properties
}

fn client_abilities(properties: &FieldTable) -> ClientAbilities {
    let capabilities = properties
        .inner()
        .get("capabilities")
        .and_then(AMQPValue::as_field_table);
    let able = |name: &str| {
        capabilities
            .and_then(|table| table.inner().get(name))
            .and_then(AMQPValue::as_bool)
            .unwrap_or(false)
    };
    ClientAbilities {
        consumer_cancel_notify: able("consumer_cancel_notify"),
        authentication_failure_close: able("authentication_failure_close"),
    }
}
