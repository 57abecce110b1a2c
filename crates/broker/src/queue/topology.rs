//! Exchanges and bindings: where a routing key leads. The platform's own exchanges and queue names.

use std::collections::HashMap;
use std::sync::Arc;

use super::state::State;

/// Direct exchange to which connectors publish, bound to the push queues.
pub const WORKER_EXCHANGE: &str = "amqp.worker.exchange";
/// Direct exchange to which the platform publishes jobs, bound to the listen queues.
pub const CONNECTOR_EXCHANGE: &str = "amqp.connector.exchange";

/// Name of the queue into which the connector publishes.
pub fn push_queue(connector_id: &str) -> String {
    format!("push_{connector_id}")
}

/// Routing key on [`WORKER_EXCHANGE`] that leads to the push queue.
pub fn push_routing(connector_id: &str) -> String {
    format!("push_routing_{connector_id}")
}

/// Name of the queue from which the connector takes its jobs.
pub fn listen_queue(connector_id: &str) -> String {
    format!("listen_{connector_id}")
}

/// Routing key on [`CONNECTOR_EXCHANGE`] that leads to the listen queue.
pub fn listen_routing(connector_id: &str) -> String {
    format!("listen_routing_{connector_id}")
}

/// How an exchange chooses queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// Bindings whose key equals the routing key.
    Direct,
    /// All bindings.
    Fanout,
    /// Bindings whose pattern matches: `*` is one word, `#` any number of words.
    Topic,
}

impl ExchangeKind {
    /// The name in AMQP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
        }
    }

    /// The kind of that AMQP name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Direct, Self::Fanout, Self::Topic]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// An exchange with its bindings.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub kind: ExchangeKind,
    pub transient: bool,
    pub internal: bool,
    /// Binding key to queues, each queue once per key.
    bindings: HashMap<String, Vec<Arc<str>>>,
}

impl Exchange {
    pub fn new(kind: ExchangeKind, transient: bool, internal: bool) -> Self {
        Self {
            kind,
            transient,
            internal,
            bindings: HashMap::new(),
        }
    }

    pub fn bind(&mut self, key: String, queue: Arc<str>) {
        let queues = self.bindings.entry(key).or_default();
        if !queues.contains(&queue) {
            queues.push(queue);
        }
    }

    pub fn unbind(&mut self, key: &str, queue: &str) {
        if let Some(queues) = self.bindings.get_mut(key) {
            queues.retain(|bound| &**bound != queue);
            if queues.is_empty() {
                self.bindings.remove(key);
            }
        }
    }

    pub fn unbind_queue(&mut self, queue: &str) {
        self.bindings.retain(|_, queues| {
            queues.retain(|bound| &**bound != queue);
            !queues.is_empty()
        });
    }

    /// The queues a message with this key goes to, each once.
    pub fn route(&self, key: &str) -> Vec<Arc<str>> {
        match self.kind {
            ExchangeKind::Direct => self.bindings.get(key).cloned().unwrap_or_default(),
            ExchangeKind::Fanout => unique(self.bindings.values().flatten()),
            ExchangeKind::Topic => unique(
                self.bindings
                    .iter()
                    .filter(|(pattern, _)| topic_matches(pattern, key))
                    .flat_map(|(_, queues)| queues),
            ),
        }
    }
}

fn unique<'a>(queues: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = queues.cloned().collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// There is no such exchange.
    NoExchange,
    /// Clients may not publish to it.
    Internal,
    /// These queues; none when nothing is bound to the key.
    Queues(Vec<Arc<str>>),
}

impl State {
    /// The queues for an exchange and a key. The exchange without name leads to the queue that the key names.
    pub fn route(&self, exchange: &str, key: &str) -> Route {
        if exchange.is_empty() {
            return Route::Queues(
                self.queues
                    .get_key_value(key)
                    .map(|(name, _)| Arc::clone(name))
                    .into_iter()
                    .collect(),
            );
        }
        match self.exchanges.get(exchange) {
            None => Route::NoExchange,
            Some(exchange) if exchange.internal => Route::Internal,
            Some(exchange) => Route::Queues(exchange.route(key)),
        }
    }
}

/// Whether a topic pattern matches a key; both are words separated by dots.
fn topic_matches(pattern: &str, key: &str) -> bool {
    let words: Vec<&str> = key.split('.').collect();
    // reachable[i]: the pattern words so far match the first i words of the key; one pass per pattern word keeps the cost bounded
    let mut reachable = vec![false; words.len() + 1];
    reachable[0] = true;
    for part in pattern.split('.') {
        let mut next = vec![false; words.len() + 1];
        if part == "#" {
            let mut open = false;
            for (from, to) in reachable.iter().zip(next.iter_mut()) {
                open |= *from;
                *to = open;
            }
        } else {
            for (index, word) in words.iter().enumerate() {
                next[index + 1] = reachable[index] && (part == "*" || part == *word);
            }
        }
        reachable = next;
    }
    // an empty key is one empty word, which `#` alone matches like nothing
    reachable[words.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns_match_by_words() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#", "", true),
            ("#", "x.y", true),
            ("*.b", "a.b", true),
            ("*", "a.b", false),
            ("#.c", "a.b.c", true),
            ("#.c.#", "a.b", false),
            ("a.#.#.b", "a.b", true),
        ];
        for (pattern, key, expected) in cases {
            assert_eq!(
                topic_matches(pattern, key),
                expected,
                "{pattern} against {key}"
            );
        }
    }

    #[test]
    fn a_queue_bound_twice_receives_a_message_once() {
        for kind in [ExchangeKind::Fanout, ExchangeKind::Topic] {
            let mut exchange = Exchange::new(kind, false, false);
            exchange.bind("a.#".to_owned(), "q".into());
            exchange.bind("#".to_owned(), "q".into());
            assert_eq!(exchange.route("a.b").len(), 1);
        }
    }

    #[test]
    fn a_direct_exchange_forgets_an_unbound_queue() {
        let mut exchange = Exchange::new(ExchangeKind::Direct, false, false);
        exchange.bind("k".to_owned(), "q".into());
        exchange.bind("k".to_owned(), "r".into());
        exchange.unbind("k", "q");
        assert_eq!(exchange.route("k"), vec![Arc::from("r")]);
        exchange.unbind_queue("r");
        assert!(exchange.route("k").is_empty());
    }
}
