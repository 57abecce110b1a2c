//! The methods of queues and exchanges, and which class a method goes to.

use amq_protocol::protocol::{AMQPClass, access, confirm, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::Bytes;

use super::codec::{MethodId, short};
use super::error::{Fault, access_refused, no_exchange, no_queue, reply};
use super::session::Session;
use crate::queue::{
    DeleteConditions, ExchangeDeclaration, ExchangeKind, QueueError, QueueSettings,
};

/// Queue arguments that would change what happens to messages and are not obeyed here; refused rather than ignored.
const UNSUPPORTED_ARGUMENTS: [&str; 10] = [
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-priority",
    "x-single-active-consumer",
    "x-queue-master-locator",
];

impl Session {
    /// A method on an open channel.
    pub async fn queue_or_basic_method(
        &mut self,
        number: u16,
        class: AMQPClass,
        arguments: Bytes,
        id: MethodId,
    ) -> Result<(), Fault> {
        match class {
            AMQPClass::Basic(method) => self.basic_method(number, method, id).await,
            AMQPClass::Queue(method) => self.queue_method(number, method, arguments, id).await,
            AMQPClass::Exchange(method) => self.exchange_method(number, method).await,
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.confirm.get_or_insert(1);
                }
                self.answer_unless(
                    select.nowait,
                    number,
                    AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})),
                );
                Ok(())
            }
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                self.answer(
                    number,
                    AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
                );
                Ok(())
            }
            AMQPClass::Tx(_) => Err(Fault::connection(
                reply::NOT_IMPLEMENTED,
                "transactions; use publisher confirms",
            )),
            _ => Err(Fault::connection(
                reply::COMMAND_INVALID,
                "this method is not expected from a client",
            )),
        }
    }

    pub fn answer_unless(&self, nowait: bool, number: u16, class: AMQPClass) {
        if !nowait {
            self.answer(number, class);
        }
    }

    fn must_configure(&self, kind: &str, name: &str) -> Result<(), Fault> {
        if self.principal.may_configure() {
            Ok(())
        } else {
            Err(access_refused(kind, name, &self.user))
        }
    }

    /// The queue that a method means: an empty name is the queue declared last on the channel.
    pub fn queue_name(&self, number: u16, name: &str) -> Result<String, Fault> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        let last = self
            .channels
            .get(&number)
            .and_then(|channel| channel.last_queue.clone());
        last.ok_or_else(|| Fault::channel(reply::NOT_FOUND, "no previously declared queue"))
    }

    /// Whether another connection owns the queue.
    pub fn must_not_be_foreign(&self, name: &str) -> Result<(), Fault> {
        if self
            .broker
            .exclusive_owner(name)
            .is_some_and(|owner| owner != self.connection.id)
        {
            let text =
                format!("cannot obtain exclusive access to locked queue '{name}' in vhost '/'");
            return Err(Fault::channel(reply::RESOURCE_LOCKED, text));
        }
        Ok(())
    }

    async fn queue_method(
        &mut self,
        number: u16,
        method: queue::AMQPMethod,
        arguments: Bytes,
        id: MethodId,
    ) -> Result<(), Fault> {
        match method {
            queue::AMQPMethod::Declare(declare) => {
                self.declare_queue(number, declare, arguments).await
            }
            queue::AMQPMethod::Bind(bind) => {
                let name = self.queue_name(number, bind.queue.as_str())?;
                self.must_configure("queue", &name)?;
                self.must_not_be_foreign(&name)?;
                let bound = self
                    .broker
                    .queues
                    .bind(
                        &name,
                        must_have_name(bind.exchange.as_str())?,
                        bind.routing_key.as_str(),
                    )
                    .await;
                bound.map_err(|error| fault_of(&error))?;
                self.answer_unless(
                    bind.nowait,
                    number,
                    AMQPClass::Queue(queue::AMQPMethod::BindOk(queue::BindOk {})),
                );
                Ok(())
            }
            queue::AMQPMethod::Unbind(unbind) => {
                let name = self.queue_name(number, unbind.queue.as_str())?;
                self.must_configure("queue", &name)?;
                let exchange = must_have_name(unbind.exchange.as_str())?;
                let gone = self
                    .broker
                    .queues
                    .unbind(&name, exchange, unbind.routing_key.as_str())
                    .await;
                gone.map_err(|error| fault_of(&error))?;
                self.answer(
                    number,
                    AMQPClass::Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {})),
                );
                Ok(())
            }
            queue::AMQPMethod::Purge(purge) => {
                let name = self.queue_name(number, purge.queue.as_str())?;
                self.must_configure("queue", &name)?;
                self.must_not_be_foreign(&name)?;
                let purged = self
                    .broker
                    .queues
                    .purge(&name)
                    .await
                    .map_err(|error| fault_of(&error))?;
                let purge_ok = queue::PurgeOk {
                    message_count: count_of(purged),
                };
                self.answer_unless(
                    purge.nowait,
                    number,
                    AMQPClass::Queue(queue::AMQPMethod::PurgeOk(purge_ok)),
                );
                Ok(())
            }
            queue::AMQPMethod::Delete(delete) => {
                let name = self.queue_name(number, delete.queue.as_str())?;
                self.must_configure("queue", &name)?;
                self.must_not_be_foreign(&name)?;
                let conditions = DeleteConditions {
                    if_unused: delete.if_unused,
                    if_empty: delete.if_empty,
                };
                let deleted = match self.broker.queues.delete(&name, conditions).await {
                    // deleting what is not there is no error
                    Err(QueueError::UnknownQueue(_)) => 0,
                    deleted => deleted.map_err(|error| fault_of(&error))?,
                };
                self.broker.forget_exclusive(&name);
                self.own_queues.retain(|own| *own != name);
                let delete_ok = queue::DeleteOk {
                    message_count: count_of(deleted),
                };
                self.answer_unless(
                    delete.nowait,
                    number,
                    AMQPClass::Queue(queue::AMQPMethod::DeleteOk(delete_ok)),
                );
                Ok(())
            }
            _ => Err(Fault::connection(
                reply::COMMAND_INVALID,
                "this queue method is not for clients to send",
            )
            .at(id)),
        }
    }

    async fn declare_queue(
        &mut self,
        number: u16,
        declare: queue::Declare,
        arguments: Bytes,
    ) -> Result<(), Fault> {
        let name = match declare.queue.as_str() {
            "" if declare.passive => self.queue_name(number, "")?,
            "" => self.broker.new_queue_name(),
            name => name.to_owned(),
        };
        self.must_not_be_foreign(&name)?;
        if declare.passive {
            if !self.principal.may_inspect(&name) {
                return Err(access_refused("queue", &name, &self.user));
            }
        } else {
            self.must_configure("queue", &name)?;
            if declare.queue.as_str().starts_with("amq.")
                && self.broker.queues.settings(&name).is_none()
            {
                let text = format!("queue name '{name}' contains reserved prefix 'amq.*'");
                return Err(Fault::channel(reply::ACCESS_REFUSED, text));
            }
            refuse_unsupported(&declare.arguments)?;
            let settings = QueueSettings {
                transient: !declare.durable || declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: Bytes::copy_from_slice(&arguments),
            };
            if let Some(known) = self.broker.queues.settings(&name) {
                let exclusive = self.broker.exclusive_owner(&name).is_some();
                compare(&name, &known, exclusive, &settings, declare.exclusive)?;
            }
            let created = self
                .broker
                .queues
                .declare(&name, settings)
                .await
                .map_err(|error| fault_of(&error))?;
            if created && declare.exclusive {
                self.broker.note_exclusive(&name, self.connection.id);
                self.own_queues.push(name.clone());
            }
        }
        let (ready, consumers) = self
            .broker
            .queues
            .ready_and_consumers(&name)
            .map_err(|error| fault_of(&error))?;
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.last_queue = Some(name.clone());
        }
        let declare_ok = queue::DeclareOk {
            queue: short(&name),
            message_count: count_of(ready),
            consumer_count: consumers,
        };
        self.answer_unless(
            declare.nowait,
            number,
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(declare_ok)),
        );
        Ok(())
    }

    async fn exchange_method(
        &mut self,
        number: u16,
        method: exchange::AMQPMethod,
    ) -> Result<(), Fault> {
        match method {
            exchange::AMQPMethod::Declare(declare) => {
                self.declare_exchange(&declare).await?;
                let declare_ok = exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {});
                self.answer_unless(declare.nowait, number, AMQPClass::Exchange(declare_ok));
                Ok(())
            }
            exchange::AMQPMethod::Delete(delete) => {
                let name = must_have_name(delete.exchange.as_str())?;
                self.must_configure("exchange", name)?;
                if name.starts_with("amq.") {
                    return Err(Fault::channel(
                        reply::ACCESS_REFUSED,
                        format!("exchange name '{name}' contains reserved prefix 'amq.*'"),
                    ));
                }
                match self
                    .broker
                    .queues
                    .delete_exchange(name, delete.if_unused)
                    .await
                {
                    Ok(()) | Err(QueueError::UnknownExchange(_)) => {}
                    Err(error) => return Err(fault_of(&error)),
                }
                let delete_ok = exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {});
                self.answer_unless(delete.nowait, number, AMQPClass::Exchange(delete_ok));
                Ok(())
            }
            _ => Err(Fault::connection(
                reply::NOT_IMPLEMENTED,
                "bindings between exchanges; bind queues instead",
            )),
        }
    }

    async fn declare_exchange(&self, declare: &exchange::Declare) -> Result<(), Fault> {
        let name = must_have_name(declare.exchange.as_str())?;
        let known = self.broker.queues.exchange(name);
        if declare.passive {
            return known.map(drop).ok_or_else(|| no_exchange(name));
        }
        self.must_configure("exchange", name)?;
        let kind = declare.kind.as_str();
        let kind = match (ExchangeKind::from_name(kind), kind) {
            (Some(kind), _) => kind,
            (None, "headers") => {
                return Err(Fault::connection(
                    reply::NOT_IMPLEMENTED,
                    "exchanges of type 'headers'; use direct, fanout or topic",
                ));
            }
            (None, _) => {
                return Err(Fault::connection(
                    reply::COMMAND_INVALID,
                    format!("unknown exchange type '{kind}'"),
                ));
            }
        };
        if declare.auto_delete {
            return Err(Fault::connection(
                reply::NOT_IMPLEMENTED,
                "auto_delete=true for exchanges; delete the exchange when it is not needed",
            ));
        }
        let asked = ExchangeDeclaration {
            kind,
            transient: !declare.durable,
            internal: declare.internal,
        };
        match known {
            Some(known) if known == asked => Ok(()),
            Some(known) => {
                let (argument, received, current) = if known.kind == asked.kind {
                    (
                        "durable",
                        declare.durable.to_string(),
                        (!known.transient).to_string(),
                    )
                } else {
                    ("type", kind.name().to_owned(), known.kind.name().to_owned())
                };
                Err(inequivalent(
                    argument, "exchange", name, &received, &current,
                ))
            }
            None if name.starts_with("amq.") => Err(Fault::channel(
                reply::ACCESS_REFUSED,
                format!("exchange name '{name}' contains reserved prefix 'amq.*'"),
            )),
            None => self
                .broker
                .queues
                .declare_exchange(name, asked)
                .await
                .map(drop)
                .map_err(|error| fault_of(&error)),
        }
    }
}

/// Message counts have four octets.
pub(crate) fn count_of(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn must_have_name(exchange: &str) -> Result<&str, Fault> {
    if exchange.is_empty() {
        return Err(Fault::channel(
            reply::ACCESS_REFUSED,
            "operation not permitted on the default exchange",
        ));
    }
    Ok(exchange)
}

fn refuse_unsupported(arguments: &FieldTable) -> Result<(), Fault> {
    if let Some(name) = UNSUPPORTED_ARGUMENTS
        .iter()
        .find(|name| arguments.contains_key(name))
    {
        return Err(Fault::connection(
            reply::NOT_IMPLEMENTED,
            format!("queue argument '{name}'"),
        ));
    }
    let Some(kind) = arguments.inner().get("x-queue-type") else {
        return Ok(());
    };
    match kind {
        AMQPValue::LongString(kind) if matches!(kind.as_bytes(), b"classic" | b"quorum") => Ok(()),
        AMQPValue::LongString(kind) => Err(Fault::connection(
            reply::NOT_IMPLEMENTED,
            format!("queue type '{kind}'; use classic or quorum"),
        )),
        _ => Err(Fault::channel(
            reply::PRECONDITION_FAILED,
            "invalid arg 'x-queue-type': a text is expected",
        )),
    }
}

fn compare(
    name: &str,
    known: &QueueSettings,
    known_exclusive: bool,
    asked: &QueueSettings,
    exclusive: bool,
) -> Result<(), Fault> {
    let pairs = [
        ("exclusive", exclusive, known_exclusive),
        ("durable", !asked.transient, !known.transient),
        ("auto_delete", asked.auto_delete, known.auto_delete),
    ];
    match pairs
        .into_iter()
        .find(|(_, received, current)| received != current)
    {
        Some((argument, received, current)) => Err(inequivalent(
            argument,
            "queue",
            name,
            &received.to_string(),
            &current.to_string(),
        )),
        None => Ok(()),
    }
}

fn inequivalent(argument: &str, kind: &str, name: &str, received: &str, current: &str) -> Fault {
    let text = format!(
        "inequivalent arg '{argument}' for {kind} '{name}' in vhost '/': received '{received}' but current is '{current}'"
    );
    Fault::channel(reply::PRECONDITION_FAILED, text)
}

/// The fault that tells a client of an error of the queues.
pub(crate) fn fault_of(error: &QueueError) -> Fault {
    match error {
        QueueError::UnknownQueue(name) => no_queue(name),
        QueueError::UnknownExchange(name) => no_exchange(name),
        QueueError::Claimed(_) => Fault::channel(reply::ACCESS_REFUSED, error.to_string()),
        QueueError::InUse(name) => Fault::channel(
            reply::PRECONDITION_FAILED,
            format!("queue '{name}' in vhost '/' in use"),
        ),
        QueueError::NotEmpty(name) => Fault::channel(
            reply::PRECONDITION_FAILED,
            format!("queue '{name}' in vhost '/' is not empty"),
        ),
        QueueError::ExchangeInUse(name) => Fault::channel(
            reply::PRECONDITION_FAILED,
            format!("exchange '{name}' in vhost '/' in use"),
        ),
        QueueError::Store(_) => Fault::connection(reply::INTERNAL_ERROR, error.to_string()),
        QueueError::Closed => Fault::connection(reply::CONNECTION_FORCED, error.to_string()),
        _ => Fault::channel(reply::PRECONDITION_FAILED, error.to_string()),
    }
}
