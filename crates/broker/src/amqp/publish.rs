//! Receiving published messages and answering them: confirm, nack, return, or a closed channel.
//!
//! Nothing is lost silently: a message that reaches no queue is returned, nacked, or closes the channel of a publisher that
//! asked for neither.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};
use bytes::Bytes;

use super::channel::{Body, ChannelPort, Content, Publishing};
use super::codec::{self, BASIC, Frame, FrameKind, short};
use super::connection::Command;
use super::error::{Fault, access_refused, no_exchange, reply};
use super::metrics::count;
use super::session::Session;
use crate::properties::{EncodedProperties, Properties};
use crate::queue::{Publish, QueueError, Route};

impl Session {
    /// basic.publish: content follows.
    pub fn begin_publish(&mut self, number: u16, publish: &basic::Publish) -> Result<(), Fault> {
        if publish.immediate {
            return Err(Fault::connection(reply::NOT_IMPLEMENTED, "immediate=true"));
        }
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.publishing = Some(Publishing {
                exchange: publish.exchange.as_str().to_owned(),
                routing_key: publish.routing_key.as_str().to_owned(),
                mandatory: publish.mandatory,
                content: None,
            });
        }
        Ok(())
    }

    /// A content header or a part of a body.
    pub async fn content(&mut self, frame: Frame) -> Result<(), Fault> {
        let number = frame.channel;
        let unexpected = |text: String| Err(Fault::connection(reply::UNEXPECTED_FRAME, text));
        let Some(channel) = self.channels.get_mut(&number) else {
            return Err(Fault::connection(
                reply::CHANNEL_ERROR,
                "expected 'channel.open'",
            ));
        };
        if channel.closing {
            return Ok(());
        }
        let Some(publishing) = &mut channel.publishing else {
            return unexpected(format!(
                "content on channel {number} without a method in front"
            ));
        };
        match (frame.kind, &mut publishing.content) {
            (FrameKind::Header, None) => {
                self.content_header(number, &frame.payload).await?;
            }
            (FrameKind::Body, Some(content)) => {
                if content.body.len() + frame.payload.len() > content.body_size {
                    let text = format!(
                        "more content than the {} octets that were announced",
                        content.body_size
                    );
                    return Err(Fault::connection(reply::FRAME_ERROR, text));
                }
                content.body.append(frame.payload, content.body_size);
            }
            (FrameKind::Header, Some(_)) => {
                return unexpected(
                    "expected content body, got a content header instead".to_owned(),
                );
            }
            _ => {
                return unexpected(
                    "expected content header for class 60, got a content body instead".to_owned(),
                );
            }
        }
        self.finish_publish(number)
    }

    async fn content_header(&mut self, number: u16, payload: &Bytes) -> Result<(), Fault> {
        let syntax = |error: crate::properties::MalformedProperties| {
            Fault::connection(
                reply::SYNTAX_ERROR,
                format!("content header on channel {number}: {error}"),
            )
        };
        let header = codec::decode_header(payload).map_err(syntax)?;
        if header.class != BASIC {
            let text = format!(
                "expected content header for class 60, got one for class {} instead",
                header.class
            );
            return Err(Fault::connection(reply::UNEXPECTED_FRAME, text));
        }
        // an own copy: the received buffer is much larger
        let (properties, readable) =
            EncodedProperties::from_wire(Bytes::copy_from_slice(&header.properties))
                .map_err(syntax)?;
        self.check_properties(&readable)?;
        let limit = self.broker.queues.options().max_message_bytes;
        if header.body_size > limit {
            let text = format!(
                "message size {} is larger than configured max size {limit}",
                header.body_size
            );
            return Err(Fault::channel(reply::PRECONDITION_FAILED, text));
        }
        // several bodies begun on one connection could wait for each other, so only the first may wait
        let begun = self
            .channels
            .values()
            .filter(|channel| {
                channel
                    .publishing
                    .as_ref()
                    .is_some_and(|p| p.content.is_some())
            })
            .count();
        let budget = Arc::clone(&self.broker.bodies);
        let share = if begun == 0 {
            budget
                .take(header.body_size, self.broker.options.body_patience)
                .await
        } else {
            budget.try_take(header.body_size)
        };
        self.last_received = tokio::time::Instant::now();
        let share = share.ok_or_else(|| {
            let text = format!(
                "no memory for a message of {} octets while {} octets of others are received",
                header.body_size,
                budget.used()
            );
            Fault::connection(reply::RESOURCE_ERROR, text)
        })?;
        let body_size = usize::try_from(header.body_size).unwrap_or(usize::MAX);
        if let Some(publishing) = self
            .channels
            .get_mut(&number)
            .and_then(|channel| channel.publishing.as_mut())
        {
            publishing.content = Some(Content {
                properties,
                body_size,
                body: Body::new(),
                share,
            });
        }
        Ok(())
    }

    fn check_properties(&self, properties: &Properties) -> Result<(), Fault> {
        match &properties.user_id {
            Some(claimed) if *claimed != self.user => {
                let text = format!(
                    "user_id property set to '{claimed}' but authenticated user was '{}'",
                    self.user
                );
                Err(Fault::channel(reply::PRECONDITION_FAILED, text))
            }
            _ => Ok(()),
        }
    }

    /// Publishes the message on a channel if it is complete.
    fn finish_publish(&mut self, number: u16) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(&number) else {
            return Ok(());
        };
        let complete = channel
            .publishing
            .as_ref()
            .and_then(|publishing| publishing.content.as_ref())
            .is_some_and(|content| content.body.len() == content.body_size);
        if !complete {
            return Ok(());
        }
        let Some(Publishing {
            exchange,
            routing_key,
            mandatory,
            content: Some(content),
        }) = channel.publishing.take()
        else {
            return Ok(());
        };
        let port = Arc::clone(&channel.port);
        count(&self.broker.counters.published);
        if !self.principal.may_publish(&exchange, &routing_key) {
            return Err(access_refused("exchange", &exchange, &self.user));
        }
        let targets = match self.broker.queues.route(&exchange, &routing_key) {
            Route::Queues(targets) => targets,
            Route::NoExchange => return Err(no_exchange(&exchange)),
            Route::Internal => {
                return Err(Fault::channel(
                    reply::ACCESS_REFUSED,
                    format!("cannot publish to internal exchange '{exchange}' in vhost '/'"),
                ));
            }
        };
        let tag = channel.confirm;
        channel.confirm = tag.map(|tag| tag + 1);
        let Content {
            properties,
            body,
            share,
            ..
        } = content;
        let message = Publish {
            body: body.finish(),
            properties,
            size_hint: None,
            epoch: self.principal.author().map(|(_, epoch)| epoch),
        };
        if targets.is_empty() {
            return self.unroutable(&port, tag, mandatory, &exchange, &routing_key, &message);
        }
        let bytes = message.body.len() as u64;
        let connection = Arc::clone(&self.connection);
        let counters = Arc::clone(&self.broker.counters);
        connection.publish_started(bytes);
        let done = {
            let port = Arc::clone(&port);
            // runs on the writing thread of the queue file after the flush
            move |written: Result<u64, QueueError>| {
                match (tag, written) {
                    (Some(tag), written) => {
                        count(if written.is_ok() {
                            &counters.confirmed
                        } else {
                            &counters.nacked
                        });
                        port.push(|out| codec::put_confirm(out, port.id, tag, written.is_ok()));
                    }
                    (None, Ok(_)) => {}
                    (None, Err(error)) => {
                        count(&counters.nacked);
                        let fault = not_kept(&error);
                        port.connection.command(Command::CloseChannel {
                            port: Arc::clone(&port),
                            fault,
                        });
                    }
                }
                drop(share);
                port.connection.publish_ended(bytes);
            }
        };
        match self.broker.queues.publish_with(
            self.principal.author(),
            &targets,
            &exchange,
            &routing_key,
            message,
            Box::new(done),
        ) {
            Ok(()) => Ok(()),
            Err(error) => {
                connection.publish_ended(bytes);
                self.refuse(&port, tag, not_kept(&error))
            }
        }
    }

    /// Nacks a message, or closes the channel when the publisher has not asked for confirms.
    fn refuse(&self, port: &Arc<ChannelPort>, tag: Option<u64>, fault: Fault) -> Result<(), Fault> {
        count(&self.broker.counters.nacked);
        let Some(tag) = tag else { return Err(fault) };
        tracing::debug!(user = %self.user, reason = %fault.text, "message nacked");
        port.push(|out| codec::put_confirm(out, port.id, tag, false));
        Ok(())
    }

    fn unroutable(
        &self,
        port: &Arc<ChannelPort>,
        tag: Option<u64>,
        mandatory: bool,
        exchange: &str,
        routing_key: &str,
        message: &Publish,
    ) -> Result<(), Fault> {
        if !mandatory {
            let text = format!(
                "no queue is bound to exchange '{exchange}' with routing key '{routing_key}', the message was not kept"
            );
            return self.refuse(port, tag, Fault::channel(reply::NOT_FOUND, text));
        }
        count(&self.broker.counters.returned);
        let returned = basic::Return {
            reply_code: reply::NO_ROUTE.0,
            reply_text: short(reply::NO_ROUTE.1),
            exchange: short(exchange),
            routing_key: short(routing_key),
        };
        self.connection.outbox.push_content(
            port.id,
            self.connection.frame_max(),
            message.properties.wire(),
            &message.body,
            |out| {
                codec::put_method(
                    out,
                    port.id,
                    AMQPClass::Basic(basic::AMQPMethod::Return(returned)),
                );
            },
        );
        if let Some(tag) = tag {
            count(&self.broker.counters.confirmed);
            port.push(|out| codec::put_confirm(out, port.id, tag, true));
        }
        Ok(())
    }
}

/// Why a message was not kept, for a publisher without confirms.
fn not_kept(error: &QueueError) -> Fault {
    let code = match error {
        QueueError::UnknownQueue(_) => reply::NOT_FOUND,
        QueueError::Fenced { .. } => reply::ACCESS_REFUSED,
        QueueError::Store(_) | QueueError::Closed => reply::INTERNAL_ERROR,
        _ => reply::PRECONDITION_FAILED,
    };
    Fault::channel(code, error.to_string())
}
