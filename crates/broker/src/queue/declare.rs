//! Making and removing queues, exchanges and bindings. All of it is durable when the ticket answers.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::state::{Queue, State};
use super::topology::{
    CONNECTOR_EXCHANGE, Exchange, ExchangeKind, WORKER_EXCHANGE, listen_queue, listen_routing,
    push_queue, push_routing,
};
use super::types::{QueueError, QueueSettings};
use super::writer::{Tx, count_range};
use super::{Queues, Ticket, schema};

/// When a queue may be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeleteConditions {
    /// Only when it has no consumers.
    pub if_unused: bool,
    /// Only when it has no messages.
    pub if_empty: bool,
}

/// How an exchange is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeDeclaration {
    /// How it chooses queues.
    pub kind: ExchangeKind,
    /// It disappears when the file is opened the next time (AMQP: not durable).
    pub transient: bool,
    /// Clients may not publish to it.
    pub internal: bool,
}

/// A binding: exchange, routing key, queue.
type Binding = (String, String, String);

impl Queues {
    /// Makes a queue unless there is one of that name. Answers whether it was made.
    pub fn declare(&self, name: &str, settings: QueueSettings) -> Ticket<bool> {
        if let Err(error) = check_name(name) {
            return Ticket::refused(error);
        }
        if self.shared.state.lock().queues.contains_key(name) {
            return Ticket::ready(false);
        }
        let name = name.to_owned();
        self.call(move |tx: &mut Tx<'_>| {
            let created = create_queue(tx, &name, settings)?;
            Ok((created.is_some(), move |state: &mut State| {
                add_queues(state, created);
            }))
        })
    }

    /// Makes the push and the listen queue of a connector with their bindings. `arguments` is an encoded AMQP table without its
    /// length, kept with both queues. Nothing changes when they are there already.
    pub fn declare_connector(&self, connector_id: &str, arguments: bytes::Bytes) -> Ticket<()> {
        let bindings: [Binding; 2] = [
            (
                WORKER_EXCHANGE.to_owned(),
                push_routing(connector_id),
                push_queue(connector_id),
            ),
            (
                CONNECTOR_EXCHANGE.to_owned(),
                listen_routing(connector_id),
                listen_queue(connector_id),
            ),
        ];
        for (_, routing_key, queue) in &bindings {
            if let Err(error) = check_name(queue).and_then(|()| check_name(routing_key)) {
                return Ticket::refused(error);
            }
        }
        let complete = {
            let state = self.shared.state.lock();
            bindings.iter().all(|(exchange, key, queue)| {
                state.exchanges.get(exchange).is_some_and(|exchange| {
                    exchange.route(key).iter().any(|bound| **bound == **queue)
                })
            })
        };
        if complete {
            return Ticket::ready(());
        }
        self.call(move |tx: &mut Tx<'_>| {
            let mut created = Vec::new();
            for (exchange, key, queue) in &bindings {
                let settings = QueueSettings {
                    arguments: arguments.clone(),
                    ..QueueSettings::default()
                };
                created.extend(create_queue(tx, queue, settings)?);
                insert_binding(tx, exchange, key, queue)?;
            }
            Ok(((), move |state: &mut State| {
                add_queues(state, created);
                for (exchange, key, queue) in bindings {
                    add_binding(state, &exchange, key, &queue);
                }
            }))
        })
    }

    /// Deletes both queues of a connector with their messages and bindings. Answers how many messages were deleted.
    pub fn delete_connector(&self, connector_id: &str) -> Ticket<u64> {
        let names = [push_queue(connector_id), listen_queue(connector_id)];
        self.call(move |tx: &mut Tx<'_>| {
            let mut deleted = 0;
            let mut gone = Vec::new();
            for name in names {
                match delete_queue(tx, &name) {
                    Ok((id, messages, bytes)) => {
                        deleted += messages;
                        gone.push((name, id, bytes));
                    }
                    Err(QueueError::UnknownQueue(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok((deleted, move |state: &mut State| {
                for (name, id, bytes) in gone {
                    remove_queue(state, &name, id, bytes);
                }
            }))
        })
    }

    /// Deletes a queue with its messages and bindings. Answers how many messages were deleted.
    pub fn delete(&self, name: &str, conditions: DeleteConditions) -> Ticket<u64> {
        let name = name.to_owned();
        self.call(move |tx: &mut Tx<'_>| {
            if conditions.if_unused {
                let state = tx.shared.state.lock();
                let queue = state.queue(&name)?;
                if queue.consumers > 0 || queue.claimed {
                    return Err(QueueError::InUse(name));
                }
            }
            if conditions.if_empty {
                let filled: bool = tx
                    .conn
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM message WHERE queue = (SELECT id FROM queue WHERE name = ?1))")?
                    .query_row([&name], |row| row.get(0))?;
                if filled {
                    return Err(QueueError::NotEmpty(name));
                }
            }
            let (id, messages, bytes) = delete_queue(tx, &name)?;
            Ok((messages, move |state: &mut State| remove_queue(state, &name, id, bytes)))
        })
    }

    /// Deletes the messages of a queue that are not handed out to an AMQP consumer. Answers how many.
    pub fn purge(&self, name: &str) -> Ticket<u64> {
        let name = name.to_owned();
        self.call(move |tx: &mut Tx<'_>| {
            let (id, lock) = {
                let state = tx.shared.state.lock();
                let queue = state.queue(&name)?;
                (queue.id, Arc::clone(&queue.lease_lock))
            };
            // nobody takes leases between the look at the positions and the deletion
            let _no_leases = lock.lock();
            let (cursor, returned): (u64, Vec<u64>) = {
                let state = tx.shared.state.lock();
                let queue = state.queue(&name)?;
                (queue.cursor, queue.returned.keys().copied().collect())
            };
            let mut gone = count_range(tx.conn, id, cursor, u64::MAX)?;
            let last: u64 = tx
                .conn
                .prepare_cached("SELECT coalesce(max(seq), 0) FROM message INDEXED BY message_by_queue WHERE queue = ?1")?
                .query_row([id], |row| row.get(0))?;
            tx.conn.prepare_cached("DELETE FROM message WHERE queue = ?1 AND seq > ?2")?.execute(params![id, cursor])?;
            for seq in &returned {
                let size: Option<u64> = tx
                    .conn
                    .prepare_cached("DELETE FROM message WHERE seq = ?1 AND queue = ?2 RETURNING size")?
                    .query_row(params![seq, id], |row| row.get(0))
                    .optional()?;
                if let Some(size) = size {
                    gone.messages += 1;
                    gone.bytes += size;
                }
            }
            tx.conn
                .prepare_cached("UPDATE queue SET discarded = discarded + ?2 WHERE id = ?1")?
                .execute(params![id, gone.messages])?;
            Ok((gone.messages, move |state: &mut State| {
                state.subtract(&name, id, gone);
                if let Some(queue) = state.queue_of(&name, id) {
                    queue.forget_leases(cursor, last);
                    queue.returned.retain(|seq, _| *seq > last || !(returned.contains(seq) || *seq > cursor));
                }
            }))
        })
    }

    /// Makes an exchange unless there is one of that name. Answers whether it was made.
    pub fn declare_exchange(&self, name: &str, declaration: ExchangeDeclaration) -> Ticket<bool> {
        if let Err(error) = check_name(name) {
            return Ticket::refused(error);
        }
        let name = name.to_owned();
        self.call(move |tx: &mut Tx<'_>| {
            let ExchangeDeclaration { kind, transient, internal } = declaration;
            let made = tx
                .conn
                .prepare_cached("INSERT INTO exchange (name, kind, transient, internal) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?
                .execute(params![name, kind.name(), transient, internal])?
                > 0;
            Ok((made, move |state: &mut State| {
                if made {
                    state.exchanges.insert(name, Exchange::new(kind, transient, internal));
                }
            }))
        })
    }

    /// Deletes an exchange with its bindings, with `if_unused` only when it has none. The platform's own exchanges cannot be deleted:
    /// that answers [`QueueError::ExchangeInUse`].
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Ticket<()> {
        if schema::PRESET_EXCHANGES
            .iter()
            .any(|(preset, _)| *preset == name)
        {
            return Ticket::refused(QueueError::ExchangeInUse(name.to_owned()));
        }
        let name = name.to_owned();
        self.call(move |tx: &mut Tx<'_>| {
            if if_unused {
                let used: bool = tx
                    .conn
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM binding WHERE exchange = ?1)")?
                    .query_row([&name], |row| row.get(0))?;
                if used {
                    return Err(QueueError::ExchangeInUse(name));
                }
            }
            tx.conn
                .prepare_cached("DELETE FROM binding WHERE exchange = ?1")?
                .execute([&name])?;
            if tx
                .conn
                .prepare_cached("DELETE FROM exchange WHERE name = ?1")?
                .execute([&name])?
                == 0
            {
                return Err(QueueError::UnknownExchange(name));
            }
            Ok(((), move |state: &mut State| {
                drop(state.exchanges.remove(&name));
            }))
        })
    }

    /// Binds a queue to an exchange. Nothing changes when that binding is there already.
    pub fn bind(&self, queue: &str, exchange: &str, routing_key: &str) -> Ticket<()> {
        let (queue, exchange, routing_key) = (
            queue.to_owned(),
            exchange.to_owned(),
            routing_key.to_owned(),
        );
        self.call(move |tx: &mut Tx<'_>| {
            insert_binding(tx, &exchange, &routing_key, &queue)?;
            Ok(((), move |state: &mut State| {
                add_binding(state, &exchange, routing_key, &queue);
            }))
        })
    }

    /// Removes a binding; one that is not there is no error.
    pub fn unbind(&self, queue: &str, exchange: &str, routing_key: &str) -> Ticket<()> {
        let (queue, exchange, routing_key) = (
            queue.to_owned(),
            exchange.to_owned(),
            routing_key.to_owned(),
        );
        self.call(move |tx: &mut Tx<'_>| {
            tx.conn
                .prepare_cached(
                    "DELETE FROM binding WHERE exchange = ?1 AND routing_key = ?2 AND queue = ?3",
                )?
                .execute(params![exchange, routing_key, queue])?;
            Ok(((), move |state: &mut State| {
                if let Some(exchange) = state.exchanges.get_mut(&exchange) {
                    exchange.unbind(&routing_key, &queue);
                }
            }))
        })
    }

    /// How a queue is kept; `None` when there is no such queue.
    pub fn settings(&self, queue: &str) -> Option<QueueSettings> {
        self.shared
            .state
            .lock()
            .queues
            .get(queue)
            .map(|queue| queue.settings.clone())
    }

    /// How an exchange is kept; `None` when there is no such exchange.
    pub fn exchange(&self, name: &str) -> Option<ExchangeDeclaration> {
        let state = self.shared.state.lock();
        let exchange = state.exchanges.get(name)?;
        Some(ExchangeDeclaration {
            kind: exchange.kind,
            transient: exchange.transient,
            internal: exchange.internal,
        })
    }
}

fn check_name(name: &str) -> Result<(), QueueError> {
    if name.is_empty() || name.len() > 255 {
        Err(QueueError::BadName(name.chars().take(300).collect()))
    } else {
        Ok(())
    }
}

/// The queue for the state in memory, or `None` when there was one of that name.
fn create_queue(
    tx: &mut Tx<'_>,
    name: &str,
    settings: QueueSettings,
) -> Result<Option<Queue>, QueueError> {
    let id: Option<i64> = tx
        .conn
        .prepare_cached(
            "INSERT INTO queue (name, transient, auto_delete, arguments) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING RETURNING id",
        )?
        .query_row(params![name, settings.transient, settings.auto_delete, &settings.arguments[..]], |row| row.get(0))
        .optional()?;
    if let Some(id) = id {
        tx.queue_created(id);
    }
    Ok(id.map(|id| Queue::new(id, name.into(), settings)))
}

fn add_queues(state: &mut State, queues: impl IntoIterator<Item = Queue>) {
    for queue in queues {
        state.queues.insert(Arc::clone(&queue.name), queue);
    }
}

/// Answers the queue's id and what was in it.
fn delete_queue(tx: &mut Tx<'_>, name: &str) -> Result<(i64, u64, u64), QueueError> {
    let id: Option<i64> = tx
        .conn
        .prepare_cached("DELETE FROM queue WHERE name = ?1 RETURNING id")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let id = id.ok_or_else(|| QueueError::UnknownQueue(name.to_owned()))?;
    let gone = count_range(tx.conn, id, 0, u64::MAX)?;
    tx.conn
        .prepare_cached("DELETE FROM message WHERE queue = ?1")?
        .execute([id])?;
    tx.conn
        .prepare_cached("DELETE FROM binding WHERE queue = ?1")?
        .execute([name])?;
    tx.queue_deleted(id);
    Ok((id, gone.messages, gone.bytes))
}

fn remove_queue(state: &mut State, name: &str, id: i64, bytes: u64) {
    state.total_bytes = state.total_bytes.saturating_sub(bytes);
    for exchange in state.exchanges.values_mut() {
        exchange.unbind_queue(name);
    }
    if state.queue_of(name, id).is_some()
        && let Some(queue) = state.queues.remove(name)
    {
        queue.signal.notify_one();
    }
}

fn insert_binding(
    tx: &Tx<'_>,
    exchange: &str,
    routing_key: &str,
    queue: &str,
) -> Result<(), QueueError> {
    let exists = |sql: &str, name: &str| -> rusqlite::Result<bool> {
        tx.conn.prepare_cached(sql)?.exists([name])
    };
    if !exists("SELECT 1 FROM queue WHERE name = ?1", queue)? {
        return Err(QueueError::UnknownQueue(queue.to_owned()));
    }
    if !exists("SELECT 1 FROM exchange WHERE name = ?1", exchange)? {
        return Err(QueueError::UnknownExchange(exchange.to_owned()));
    }
    tx.conn
        .prepare_cached("INSERT INTO binding (exchange, routing_key, queue) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![exchange, routing_key, queue])?;
    Ok(())
}

fn add_binding(state: &mut State, exchange: &str, routing_key: String, queue: &str) {
    let Some((name, _)) = state.queues.get_key_value(queue) else {
        return;
    };
    let name = Arc::clone(name);
    if let Some(exchange) = state.exchanges.get_mut(exchange) {
        exchange.bind(routing_key, name);
    }
}
