//! The methods of class basic, except publishing: consuming, fetching, settling.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};

use super::channel::{Consumer, Unacked};
use super::codec::{self, MethodId, short};
use super::dispatch::Refused;
use super::error::{Fault, access_refused, reply};
use super::methods::{count_of, fault_of};
use super::session::Session;
use crate::queue::QueueError;

impl Session {
    pub async fn basic_method(
        &mut self,
        number: u16,
        method: basic::AMQPMethod,
        id: MethodId,
    ) -> Result<(), Fault> {
        match method {
            basic::AMQPMethod::Publish(publish) => self.begin_publish(number, &publish),
            basic::AMQPMethod::Ack(ack) => {
                self.settle(number, ack.delivery_tag, ack.multiple, Settlement::Ack)
            }
            basic::AMQPMethod::Nack(nack) => self.settle(
                number,
                nack.delivery_tag,
                nack.multiple,
                Settlement::refusal(nack.requeue),
            ),
            basic::AMQPMethod::Reject(reject) => self.settle(
                number,
                reject.delivery_tag,
                false,
                Settlement::refusal(reject.requeue),
            ),
            basic::AMQPMethod::Qos(qos) => {
                self.set_prefetch(number, qos.prefetch_count, qos.global)
            }
            basic::AMQPMethod::Consume(consume) => self.consume(number, &consume),
            basic::AMQPMethod::Cancel(cancel) => {
                let tag = cancel.consumer_tag;
                let consumer = self
                    .channels
                    .get_mut(&number)
                    .and_then(|channel| channel.consumers.remove(tag.as_str()));
                if let Some(consumer) = consumer {
                    self.remove_consumer(&consumer);
                }
                let cancel_ok = basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: tag });
                self.answer_unless(cancel.nowait, number, AMQPClass::Basic(cancel_ok));
                Ok(())
            }
            basic::AMQPMethod::CancelOk(_) => Ok(()),
            basic::AMQPMethod::Get(get) => self.get(number, &get).await,
            basic::AMQPMethod::Recover(recover) => {
                self.recover(number, recover.requeue)?;
                self.answer(
                    number,
                    AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {})),
                );
                Ok(())
            }
            basic::AMQPMethod::RecoverAsync(recover) => self.recover(number, recover.requeue),
            _ => Err(Fault::connection(
                reply::COMMAND_INVALID,
                "this basic method is not for clients to send",
            )
            .at(id)),
        }
    }

    fn set_prefetch(&mut self, number: u16, count: u16, global: bool) -> Result<(), Fault> {
        if let Some(channel) = self.channels.get_mut(&number) {
            if global {
                channel.port.set_prefetch(count.into());
            } else {
                channel.prefetch = count.into();
            }
            for consumer in channel.consumers.values() {
                consumer.signal.notify_one();
            }
        }
        self.answer(
            number,
            AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {})),
        );
        Ok(())
    }

    fn may_take(&self, name: &str) -> Result<(), Fault> {
        if !self.principal.may_consume(name) {
            return Err(access_refused("queue", name, &self.user));
        }
        self.must_not_be_foreign(name)
    }

    fn consume(&mut self, number: u16, consume: &basic::Consume) -> Result<(), Fault> {
        let name = self.queue_name(number, consume.queue.as_str())?;
        self.may_take(&name)?;
        let generated = self.broker.new_consumer_tag();
        let Some(channel) = self.channels.get_mut(&number) else {
            return Ok(());
        };
        let tag = match consume.consumer_tag.as_str() {
            "" => generated,
            tag => tag.to_owned(),
        };
        if channel.consumers.contains_key(&tag) {
            return Err(Fault::connection(
                reply::NOT_ALLOWED,
                format!("attempt to reuse consumer tag '{tag}'"),
            ));
        }
        let port = Arc::clone(&channel.port);
        let prefetch = channel.prefetch;
        let started = |consumer: &Arc<Consumer>| {
            if !consume.nowait {
                let consume_ok = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk {
                    consumer_tag: short(&consumer.tag),
                });
                port.push(|out| codec::put_method(out, number, AMQPClass::Basic(consume_ok)));
            }
        };
        let make = |signal| {
            Consumer::new(
                tag.clone(),
                &name,
                consume.no_ack,
                consume.exclusive,
                prefetch,
                Arc::clone(&port),
                signal,
            )
        };
        match self
            .broker
            .dispatchers
            .add(&name, consume.exclusive, make, started)
        {
            Ok(consumer) => {
                channel.consumers.insert(tag, consumer);
                Ok(())
            }
            Err(Refused::Exclusive) => Err(Fault::channel(
                reply::ACCESS_REFUSED,
                format!("queue '{name}' in vhost '/' in exclusive use"),
            )),
            Err(Refused::Queue(error)) => Err(fault_of(&error)),
        }
    }

    async fn get(&mut self, number: u16, get: &basic::Get) -> Result<(), Fault> {
        let name = self.queue_name(number, get.queue.as_str())?;
        self.may_take(&name)?;
        if self.broker.queues.is_claimed(&name) {
            return Err(fault_of(&QueueError::Claimed(name)));
        }
        let (queues, queue) = (self.broker.queues.clone(), name.clone());
        let leased = tokio::task::spawn_blocking(move || queues.lease(&queue, 1, 1)).await;
        let leased = leased
            .unwrap_or(Err(QueueError::Closed))
            .map_err(|error| fault_of(&error))?;
        let Some(message) = leased.first() else {
            self.answer(
                number,
                AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})),
            );
            return Ok(());
        };
        let (ready, _) = self
            .broker
            .queues
            .ready_and_consumers(&name)
            .map_err(|error| fault_of(&error))?;
        let Some(channel) = self.channels.get(&number) else {
            return Ok(());
        };
        let queue: Arc<str> = name.as_str().into();
        let sent = channel
            .port
            .send_got(message, &queue, get.no_ack, |out, delivery_tag| {
                let get_ok = basic::GetOk {
                    delivery_tag,
                    redelivered: message.redelivered,
                    exchange: short(&message.exchange),
                    routing_key: short(&message.routing_key),
                    message_count: count_of(ready),
                };
                codec::put_method(
                    out,
                    number,
                    AMQPClass::Basic(basic::AMQPMethod::GetOk(get_ok)),
                );
            });
        let counters = &self.broker.counters;
        if !sent {
            self.broker.queues.release(&name, &[message.seq], false);
            return Ok(());
        }
        super::metrics::count(&counters.delivered);
        if get.no_ack {
            self.broker
                .queues
                .ack(&name, &[message.seq])
                .map_err(|error| fault_of(&error))?;
        }
        Ok(())
    }

    fn recover(&self, number: u16, requeue: bool) -> Result<(), Fault> {
        if !requeue {
            return Err(Fault::connection(reply::NOT_IMPLEMENTED, "requeue=false"));
        }
        let Some(channel) = self.channels.get(&number) else {
            return Ok(());
        };
        self.requeue(channel.port.settle(0, true).unwrap_or_default());
        Ok(())
    }

    fn settle(
        &self,
        number: u16,
        tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<(), Fault> {
        let Some(channel) = self.channels.get(&number) else {
            return Ok(());
        };
        let settled = channel.port.settle(tag, multiple).ok_or_else(|| {
            Fault::channel(
                reply::PRECONDITION_FAILED,
                format!("unknown delivery tag {tag}"),
            )
        })?;
        match settlement {
            Settlement::Requeue => self.requeue(settled),
            Settlement::Ack => {
                self.broker
                    .counters
                    .acked
                    .fetch_add(settled.len() as u64, std::sync::atomic::Ordering::Relaxed);
                let mut rest = &settled[..];
                while let Some(first) = rest.first() {
                    let same = rest
                        .iter()
                        .take_while(|unacked| unacked.queue == first.queue)
                        .count();
                    let seqs: Vec<u64> = rest[..same].iter().map(|unacked| unacked.seq).collect();
                    // a queue that is gone has nothing left to delete
                    drop(self.broker.queues.ack(&first.queue, &seqs));
                    rest = &rest[same..];
                }
                free_consumers(&settled);
            }
            Settlement::SetAside => {
                for unacked in &settled {
                    drop(self.broker.queues.dead_letter(
                        &unacked.queue,
                        unacked.seq,
                        "rejected by its consumer without requeue",
                    ));
                }
                free_consumers(&settled);
            }
        }
        // a limit that the consumers of a channel share makes room for all of them
        if channel.port.shares_prefetch() {
            for consumer in channel.consumers.values() {
                consumer.signal.notify_one();
            }
        }
        Ok(())
    }
}

/// What becomes of a delivery.
#[derive(Clone, Copy)]
enum Settlement {
    Ack,
    Requeue,
    /// Rejected for good: kept as a dead letter.
    SetAside,
}

impl Settlement {
    fn refusal(requeue: bool) -> Self {
        if requeue {
            Self::Requeue
        } else {
            Self::SetAside
        }
    }
}

fn free_consumers(settled: &[Unacked]) {
    for consumer in settled
        .iter()
        .filter_map(|unacked| unacked.consumer.as_ref())
    {
        consumer.settled();
    }
}
