//! Instances that are heard of: those that are refused and go on calling, and those that are more than one. All in memory, so that a refusal costs nothing; what is to be
//! kept is written down now and then.

use std::collections::HashMap;
use std::net::IpAddr;

use ferrocti_model::clock::Millis;
use ferrocti_store::{FencedInstance, Snapshot, Store};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::ConnectorError;

/// Instances that are told apart between two times of writing down; what is beyond is counted together.
const MOST: usize = 1000;
/// Longest name of a client that is kept, in bytes.
const MAX_AGENT: usize = 200;
/// Who was not heard of for so long is not alive. Connectors ping every 40 seconds.
const ALIVE: Millis = 100 * 1000;
/// Instances of a connector that are watched.
const WATCHED: usize = 4;
/// Connectors whose instances are watched.
const CONNECTORS: usize = 5000;

/// Two instances of a connector that are alive at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondInstance {
    /// Noticed first.
    pub since: Millis,
    /// Noticed last.
    pub at: Millis,
    /// Where they are; empty for those of which it is not known.
    pub addresses: Vec<String>,
    /// Whether they use different tokens.
    pub different_tokens: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    connector: String,
    address: String,
    token: Option<Uuid>,
    agent: String,
}

#[derive(Debug, Clone)]
struct Knocks {
    what: &'static str,
    calls: i64,
    first_at: Millis,
    last_at: Millis,
}

#[derive(Debug, Clone)]
struct Instance {
    address: Option<IpAddr>,
    token: Option<Uuid>,
    at: Millis,
}

#[derive(Debug, Default)]
struct Heard {
    /// The last is the one that was heard of last.
    instances: Vec<Instance>,
    second: Option<SecondInstance>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Zombies {
    knocks: Mutex<HashMap<Key, Knocks>>,
    heard: Mutex<HashMap<String, Heard>>,
}

impl Zombies {
    /// Counts a refusal.
    pub fn knock(
        &self,
        connector: &str,
        (address, token, agent): (String, Option<Uuid>, &str),
        what: &'static str,
        now: Millis,
    ) {
        let mut end = agent.len().min(MAX_AGENT);
        while !agent.is_char_boundary(end) {
            end -= 1;
        }
        let mut key = Key {
            connector: connector.to_owned(),
            address,
            token,
            agent: agent[..end].chars().filter(|c| !c.is_control()).collect(),
        };
        let mut knocks = self.knocks.lock();
        if knocks.len() >= MOST && !knocks.contains_key(&key) {
            key = Key {
                connector: connector.to_owned(),
                address: String::new(),
                token: None,
                agent: String::new(),
            };
        }
        let entry = knocks.entry(key).or_insert_with_key(|key| {
            tracing::warn!(connector = %key.connector, address = %key.address, what, "an instance that does not act as the connector any more is refused; stop it");
            Knocks {
                what,
                calls: 0,
                first_at: now,
                last_at: now,
            }
        });
        entry.what = what;
        entry.calls += 1;
        entry.last_at = now;
    }

    /// Notes that an instance of a connector was heard of.
    pub fn heard(
        &self,
        connector: &str,
        token: Option<Uuid>,
        address: Option<IpAddr>,
        now: Millis,
    ) {
        let mut heard = self.heard.lock();
        if heard.len() >= CONNECTORS && !heard.contains_key(connector) {
            heard.retain(|_, heard| {
                heard
                    .instances
                    .last()
                    .is_some_and(|last| now - last.at < ALIVE)
            });
        }
        let Heard { instances, second } = heard.entry(connector.to_owned()).or_default();
        instances.retain(|instance| now - instance.at < ALIVE);
        let this = instances
            .iter()
            .position(|instance| instance.token == token && instance.address == address);
        // it was heard of before, then another one, and now it again: that is no restart
        if let Some(index) = this
            && index + 1 < instances.len()
        {
            let mut addresses: Vec<String> = instances[index..]
                .iter()
                .map(|instance| instance.address.map(|a| a.to_string()).unwrap_or_default())
                .collect();
            addresses.sort();
            addresses.dedup();
            let different_tokens = instances[index..]
                .iter()
                .any(|instance| instance.token != token);
            let since = second.as_ref().map_or(now, |second| second.since);
            if second.is_none() {
                tracing::warn!(
                    connector,
                    ?addresses,
                    "two instances of a connector are alive: they overwrite each other's state; stop one of them"
                );
            }
            *second = Some(SecondInstance {
                since,
                at: now,
                addresses,
                different_tokens,
            });
        }
        if let Some(index) = this {
            instances.remove(index);
        }
        if instances.len() >= WATCHED {
            instances.remove(0);
        }
        instances.push(Instance {
            address,
            token,
            at: now,
        });
    }

    /// Another live instance, as long as both were heard of lately.
    pub fn second(&self, connector: &str, now: Millis) -> Option<SecondInstance> {
        let heard = self.heard.lock();
        let second = heard.get(connector)?.second.clone()?;
        (now - second.at < ALIVE).then_some(second)
    }

    /// The tokens of the instances of a connector that were heard of lately.
    pub fn tokens(&self, connector: &str) -> Vec<Uuid> {
        let heard = self.heard.lock();
        heard.get(connector).map_or_else(Vec::new, |heard| {
            heard.instances.iter().filter_map(|i| i.token).collect()
        })
    }

    /// Forgets the instances of a connector: it has changed hands.
    pub fn forget_instances(&self, connector: &str) {
        self.heard.lock().remove(connector);
    }

    /// Those that were refused as a connector: what is written down with what is not yet, the last first.
    pub fn of(
        &self,
        snapshot: &Snapshot<'_>,
        connector: &str,
    ) -> Result<Vec<FencedInstance>, ConnectorError> {
        let mut found = snapshot.fenced_instances(connector)?;
        let knocks = self.knocks.lock();
        for (key, knocks) in knocks.iter().filter(|(key, _)| key.connector == connector) {
            let new = written(snapshot, key, knocks)?;
            let known = found.iter_mut().find(|known| {
                (&known.address, &known.token, &known.agent)
                    == (&new.address, &new.token, &new.agent)
            });
            match known {
                Some(known) => {
                    known.calls += new.calls;
                    known.last_at = known.last_at.max(new.last_at);
                    known.what = new.what;
                }
                None => found.push(new),
            }
        }
        found.sort_by_key(|instance| std::cmp::Reverse(instance.last_at));
        Ok(found)
    }

    /// Writes down what is counted.
    pub fn flush(&self, store: &Store) -> Result<(), ConnectorError> {
        let counted = std::mem::take(&mut *self.knocks.lock());
        if counted.is_empty() {
            return Ok(());
        }
        let stored = store.write(|tx| {
            for (key, knocks) in &counted {
                // of a connector that was deleted nothing is kept
                if tx.connector(&key.connector)?.is_some() {
                    let instance = written(tx, key, knocks)?;
                    tx.add_fenced(&instance)?;
                }
            }
            Ok::<_, ConnectorError>(())
        });
        if stored.is_err() {
            let mut knocks = self.knocks.lock();
            for (key, counted) in counted {
                let entry = knocks.entry(key).or_insert_with(|| Knocks {
                    calls: 0,
                    ..counted.clone()
                });
                entry.calls += counted.calls;
                entry.first_at = entry.first_at.min(counted.first_at);
            }
        }
        stored
    }
}

fn written(
    snapshot: &Snapshot<'_>,
    key: &Key,
    knocks: &Knocks,
) -> Result<FencedInstance, ConnectorError> {
    let token = match key.token {
        Some(token) => snapshot.token(token)?.map(|token| token.masked),
        None => None,
    };
    Ok(FencedInstance {
        connector: key.connector.clone(),
        address: key.address.clone(),
        token: token.unwrap_or_default(),
        agent: key.agent.clone(),
        what: knocks.what.to_owned(),
        calls: knocks.calls,
        first_at: knocks.first_at,
        last_at: knocks.last_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<Uuid> = Some(Uuid::from_u128(1));
    const B: Option<Uuid> = Some(Uuid::from_u128(2));

    fn at(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn instances_that_take_turns_are_two() {
        let zombies = Zombies::default();
        zombies.heard("c", A, at(1), 0);
        zombies.heard("c", A, at(2), 10_000);
        assert_eq!(zombies.second("c", 10_000), None, "it may have moved");
        zombies.heard("c", A, at(1), 40_000);
        let second = zombies.second("c", 40_000).unwrap();
        assert_eq!(second.addresses, ["192.0.2.1", "192.0.2.2"]);
        assert!(!second.different_tokens);
        zombies.heard("c", B, at(1), 50_000);
        zombies.heard("c", A, at(1), 60_000);
        assert!(zombies.second("c", 60_000).unwrap().different_tokens);
        assert_eq!(zombies.second("c", 60_000 + ALIVE), None, "one is gone");
    }

    #[test]
    fn a_restart_elsewhere_is_not_a_second_instance() {
        let zombies = Zombies::default();
        for now in 0..5 {
            zombies.heard("c", A, at(1), now * 40_000);
        }
        zombies.heard("c", B, at(2), 200_000);
        zombies.heard("c", B, at(2), 240_000);
        assert_eq!(zombies.second("c", 240_000), None);
        zombies.heard("c", A, at(1), 200_000 + 10 * ALIVE);
        assert_eq!(zombies.second("c", 200_000 + 10 * ALIVE), None);
    }

    #[test]
    fn a_flood_of_strangers_is_counted_without_being_remembered() {
        let zombies = Zombies::default();
        for n in 0..(MOST as u128 + 500) {
            let token = Some(Uuid::from_u128(n));
            zombies.knock("c", (String::new(), token, "x"), "ping", 1);
        }
        let knocks = zombies.knocks.lock();
        assert_eq!(knocks.len(), MOST + 1);
        let calls: i64 = knocks.values().map(|knocks| knocks.calls).sum();
        assert_eq!(calls, MOST as i64 + 500);
    }
}
