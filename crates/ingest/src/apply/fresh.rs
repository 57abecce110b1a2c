//! What a new object has beyond its input, computed ahead by the reader for objects that nobody seems to know, so that the writing thread need not.

use ferrocti_access::Actor;
use ferrocti_model::{clock::Millis, merge};
use serde_json::{Map, Value};

use super::{create::texts, facts, input::Input};

/// Attributes of an indicator that its completion may change although they are given.
const VALIDITY: [&str; 4] = [
    "valid_from",
    "valid_until",
    "revoked",
    "x_opencti_detection",
];

/// What was done ahead to the attributes of an input.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Number of attributes that were given; those behind were added.
    given: usize,
    /// Given values that were replaced.
    replaced: Vec<(&'static str, Value)>,
    /// Given attributes that go into the standard id, for types whose id also needs what they point to.
    pub identity: Map<String, Value>,
    /// What it is found by; `None`: to be computed again.
    pub texts: Option<(String, String)>,
    /// The actor's level for the type.
    level: Option<u8>,
}

impl Fresh {
    /// One of the given attributes was removed.
    pub fn given_removed(&mut self) {
        self.given = self.given.saturating_sub(1);
    }
}

impl Input {
    /// Completes the attributes as those of a new object.
    pub fn complete(&mut self, actor: &Actor, now: Millis) {
        let kind = self.kind();
        if self.element.derive || !self.element.based_on.is_empty() {
            return;
        }
        self.cap_confidence(actor);
        let attributes = &mut self.element.attributes;
        let given = attributes.len();
        let of = |names: &[&'static str], attributes: &Map<String, Value>| -> Vec<_> {
            names
                .iter()
                .filter_map(|name| Some((*name, attributes.get(*name)?.clone())))
                .collect()
        };
        let replaced = if kind.name == "Indicator" {
            of(&VALIDITY, attributes)
        } else {
            Vec::new()
        };
        let identity = if facts::of(kind).needs_targets {
            let names = kind
                .id_rule
                .ways
                .iter()
                .flatten()
                .map(|contribution| &contribution.property);
            names
                .filter_map(|name| Some((name.clone(), attributes.get(name)?.clone())))
                .collect()
        } else {
            Map::new()
        };
        merge::defaults(kind, attributes, now);
        let texts = Some(texts(kind, attributes));
        self.fresh = Some(Fresh {
            given,
            replaced,
            identity,
            texts,
            level: actor.level(&kind.name),
        });
    }

    /// Takes back what was added ahead, unless it was added for this actor and the object is new.
    pub fn as_given(&mut self) {
        let Some(fresh) = self.fresh.take() else {
            return;
        };
        let attributes = &mut self.element.attributes;
        *attributes = std::mem::take(attributes)
            .into_iter()
            .take(fresh.given)
            .collect();
        attributes.extend(
            fresh
                .replaced
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
    }

    /// Whether what was added ahead does not hold for this actor.
    #[must_use]
    pub fn is_stale(&self, actor: &Actor) -> bool {
        self.fresh
            .as_ref()
            .is_some_and(|fresh| fresh.level != actor.level(&self.kind().name))
    }

    /// Limits the confidence, on types that have one, to what the actor may claim.
    pub fn cap_confidence(&mut self, actor: &Actor) {
        let kind = self.kind();
        if !facts::of(kind).confidence {
            return;
        }
        let attributes = &mut self.element.attributes;
        // limited before for other rights, it is limited anew
        let given = *self.given_confidence.get_or_insert_with(|| {
            let given = attributes.get("confidence").and_then(Value::as_i64);
            given.map(|given| u8::try_from(given.clamp(0, 100)).unwrap_or(100))
        });
        if let Some(confidence) = actor.cap_confidence(&kind.name, given) {
            attributes.insert("confidence".to_owned(), confidence.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrocti_model::{Element, Registry};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_added_ahead_can_be_taken_back() {
        for (kind, given) in [
            ("Malware", json!({"name": "a", "confidence": 40})),
            (
                "uses",
                json!({"start_time": "2020-01-01T00:00:00.000Z", "confidence": 40}),
            ),
            ("IPv4-Addr", json!({"value": "192.0.2.1"})),
            (
                "Indicator",
                json!({"name": "a", "pattern": "[url:value = 'a']", "pattern_type": "stix", "revoked": false, "confidence": 40,
                    "valid_from": "2020-01-01T00:00:00.000Z", "valid_until": "2020-01-01T00:00:00.000Z"}),
            ),
        ] {
            let Value::Object(attributes) = given.clone() else {
                unreachable!("objects are given")
            };
            let mut element = Element::new(Registry::get().by_name(kind).unwrap());
            element.attributes = attributes;
            let mut input = Input::new(element);
            input.complete(&Actor::system(1), 1_700_000_000_000);
            assert!(
                kind == "IPv4-Addr" || Value::Object(input.element.attributes.clone()) != given,
                "{kind} has presets"
            );
            input.as_given();
            assert_eq!(Value::Object(input.element.attributes), given, "{kind}");
        }
    }

    #[test]
    fn presets_do_not_enter_the_identity() {
        let mut element = Element::new(Registry::get().by_name("uses").unwrap());
        element
            .attributes
            .insert("stop_time".to_owned(), "2020-01-01T00:00:00.000Z".into());
        let mut input = Input::new(element);
        input.complete(&Actor::system(1), 1_700_000_000_000);
        let identity = input.fresh.map(|fresh| fresh.identity).unwrap();
        assert_eq!(
            identity.get("stop_time"),
            Some(&json!("2020-01-01T00:00:00.000Z"))
        );
        assert_eq!(identity.get("start_time"), None);
    }
}
