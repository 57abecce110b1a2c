//! Objects that follow from others: the observables that an indicator's pattern names, and the indicator for an observable.
//!
//! Both take author, organizations, markings, labels, external references and score over from what they follow from, and are tied to it by
//! a `based-on` relationship from the indicator to the observable.

use serde_json::{Map, Value};

use crate::{
    Element, EntityType, Ident, Registry, StixId, ids,
    pattern::{Equality, equalities, quoted},
    registry::{Attribute, Category},
    representative::observable_value,
    stix::{self, value},
};

const SCORE: &str = "x_opencti_score";

/// Most observables that are made of one pattern.
pub const MOST: usize = 1_000;

/// The observables that follow from an indicator: one for each test of its STIX pattern for equality with a property that identifies an observable.
/// Tests of anything else, of a property of something referred to (`network-traffic:src_ref.value`), or for a value that the type
/// cannot have, make none; neither do other languages than STIX. At most [`MOST`] are made.
#[must_use]
pub fn observables(indicator: &Element) -> Vec<Element> {
    let stix = indicator
        .text("pattern_type")
        .is_some_and(|language| language.trim().eq_ignore_ascii_case("stix"));
    let Some(pattern) = indicator.text("pattern").filter(|_| stix) else {
        return Vec::new();
    };
    let name = indicator.text("name").unwrap_or(pattern);
    let mut seen: Vec<StixId> = Vec::new();
    let mut found = Vec::new();
    for test in equalities(pattern).unwrap_or_default() {
        let Some((mut observable, id)) = tested(test) else {
            continue;
        };
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        take_over(&mut observable, indicator);
        let description = format!("Simple observable of indicator {name}");
        observable
            .attributes
            .entry("x_opencti_description")
            .or_insert(Value::String(description));
        found.push(observable);
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// The observable that a test for equality identifies, with its id.
fn tested(test: Equality) -> Option<(Element, StixId)> {
    let registry = Registry::get();
    let kind = registry
        .by_stix(&test.object)
        .first()
        .copied()
        .filter(|kind| kind.category == Category::Observable)?;
    let (attribute, value) = match test.path.as_slice() {
        [property] => (by_property(kind, property)?, test.value),
        [dictionary, key] if dictionary == "hashes" => (
            kind.attribute(dictionary)?,
            Value::Object(Map::from_iter([(key.clone(), test.value)])),
        ),
        _ => return None,
    };
    let identifies = |property: &str| {
        kind.id_rule
            .ways
            .iter()
            .flatten()
            .any(|contribution| contribution.property == property)
    };
    if !identifies(&attribute.name) {
        return None;
    }
    let mut element = Element::new(kind);
    let value = stix::convert(attribute, value)
        .ok()
        .flatten()
        .filter(|value| !value::is_empty(value))?;
    element.attributes.insert(attribute.name.clone(), value);
    stix::finish(kind, &mut element.attributes).ok()?;
    stix::required(&element).ok()?;
    let id = ids::standard_id(kind, &element.attributes, &|_| Vec::new())
        .ok()
        .flatten()?;
    Some((element, id))
}

/// The attribute of a STIX property.
fn by_property(kind: &'static EntityType, property: &str) -> Option<&'static Attribute> {
    kind.attributes.iter().find(|attribute| {
        attribute
            .stix
            .iter()
            .any(|path| path.strip_suffix("[]").unwrap_or(path) == property)
    })
}

/// The indicator that follows from an observable: its pattern tests the observable's key property, or all its hashes. `None` for types that have no such
/// property, and observables without it.
#[must_use]
pub fn indicator(observable: &Element) -> Option<Element> {
    let kind = observable.kind;
    let pattern = pattern(kind, &observable.attributes)?;
    let value = observable_value(kind, &observable.attributes).unwrap_or_else(|| pattern.clone());
    let mut element = Element::new(Registry::get().by_name("Indicator")?);
    element.attributes = Map::from_iter(
        [
            (
                "description",
                format!("Simple indicator of observable {value}"),
            ),
            ("name", value),
            ("pattern", pattern),
            ("pattern_type", "stix".to_owned()),
            ("x_opencti_main_observable_type", kind.name.clone()),
        ]
        .map(|(name, text)| (name.to_owned(), Value::String(text))),
    );
    take_over(&mut element, observable);
    stix::finish(element.kind, &mut element.attributes).ok()?;
    Some(element)
}

/// The STIX pattern that finds an observable; `None` for types that have no property to find them by, and observables without it.
#[must_use]
pub fn pattern(kind: &EntityType, attributes: &Map<String, Value>) -> Option<String> {
    if let Some(Value::Object(hashes)) = attributes.get("hashes") {
        // by name, so that the same hashes always make the same pattern, which identifies the indicator
        let mut hashes: Vec<(&String, &str)> = hashes
            .iter()
            .filter_map(|(algorithm, hash)| Some((algorithm, hash.as_str()?)))
            .collect();
        hashes.sort_unstable();
        let tests: Vec<String> = hashes
            .iter()
            .map(|(algorithm, hash)| {
                format!(
                    "{}:hashes.{} = {}",
                    kind.stix_type,
                    step(algorithm),
                    quoted(hash)
                )
            })
            .collect();
        if !tests.is_empty() {
            return Some(format!("[{}]", tests.join(" OR ")));
        }
    }
    keys(kind).iter().find_map(|name| {
        let attribute = kind.attribute(name)?;
        let literal = match attributes.get(*name)? {
            Value::String(text) if !ids::trim(text).is_empty() => quoted(text),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let property = attribute.stix.first().unwrap_or(&attribute.name);
        Some(format!(
            "[{}:{} = {literal}]",
            kind.stix_type,
            step(property)
        ))
    })
}

/// The attributes that an observable of a type is found by; the first that it has counts.
fn keys(kind: &EntityType) -> &'static [&'static str] {
    match kind.name.as_str() {
        "Autonomous-System" => &["number"],
        "Directory" => &["path"],
        "Email-Message" => &["subject", "body"],
        "Email-Mime-Part-Type" => &["body"],
        "StixFile" | "Mutex" | "Software" | "Windows-Registry-Value-Type" => &["name"],
        "Artifact" | "Media-Content" => &["url"],
        "X509-Certificate" => &["serial_number", "subject"],
        "Network-Traffic" => &["dst_port"],
        "Process" => &["pid", "command_line"],
        "User-Account" => &["account_login", "user_id"],
        "Windows-Registry-Key" => &["attribute_key"],
        "Bank-Account" => &["iban"],
        "Payment-Card" => &["card_number"],
        _ => &["value"],
    }
}

/// A name within a path: in quotes unless it is an identifier.
fn step(name: &str) -> String {
    let identifier = name.bytes().enumerate().all(|(at, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    });
    if identifier && !name.is_empty() {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// The relationship from an indicator to an observable, with author, organizations, markings and confidence of what asks for it.
#[must_use]
pub fn based_on(indicator: Ident, observable: Ident, asked_by: &Element) -> Option<Element> {
    let mut element = Element::new(Registry::get().by_name("based-on")?);
    element.ends = Some((indicator, observable));
    take_over(&mut element, asked_by);
    Some(element)
}

/// Gives `element` what it has in common with what it follows from.
fn take_over(element: &mut Element, from: &Element) {
    for (reference, targets) in &from.refs {
        let shared = matches!(
            reference.name.as_str(),
            "createdBy"
                | "objectOrganization"
                | "objectMarking"
                | "objectLabel"
                | "externalReferences"
        );
        // what a relationship says is not what its ends are labelled with
        let own = match reference.name.as_str() {
            "objectLabel" | "externalReferences" if element.kind.is_relationship() => None,
            name => element.kind.reference(name),
        };
        if let (true, Some(own)) = (shared, own) {
            element.refs.push((own, targets.clone()));
        }
    }
    for name in [SCORE, "confidence"] {
        if let (Some(value), Some(_)) = (from.attributes.get(name), element.kind.attribute(name)) {
            element.attributes.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    fn kind(name: &str) -> &'static EntityType {
        Registry::get().by_name(name).unwrap()
    }

    fn element(name: &str, attributes: Value) -> Element {
        let mut element = Element::new(kind(name));
        element.attributes = attributes.as_object().unwrap().clone();
        stix::finish(element.kind, &mut element.attributes).unwrap();
        element
    }

    fn of_pattern(pattern: &str) -> Value {
        let indicator = element(
            "Indicator",
            json!({"name": "i", "pattern": pattern, "pattern_type": "stix"}),
        );
        observables(&indicator)
            .into_iter()
            .map(|mut observable| {
                observable.attributes.shift_remove("x_opencti_description");
                json!([observable.kind.name, observable.attributes])
            })
            .collect()
    }

    #[test]
    fn every_test_of_what_identifies_an_observable_makes_one() {
        let cases = [
            (
                "[ipv4-addr:value = '192.0.2.1']",
                json!([["IPv4-Addr", {"value": "192.0.2.1"}]]),
            ),
            (
                "[domain-name:value = 'Example.ORG' OR url:value = 'http://a/'] AND [x-opencti-hostname:value = 'a']",
                json!([["Domain-Name", {"value": "example.org"}], ["Url", {"value": "http://a/"}], ["Hostname", {"value": "a"}]]),
            ),
            (
                "[file:hashes.md5 = 'D41D8CD98F00B204E9800998ECF8427E' AND file:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709' AND file:name = 'a.exe' AND file:size = 5]",
                json!([["StixFile", {"hashes": {"MD5": MD5}}], ["StixFile", {"hashes": {"SHA-1": SHA1}}], ["StixFile", {"name": "a.exe"}]]),
            ),
            (
                "[autonomous-system:number = 64496]",
                json!([["Autonomous-System", {"number": 64496}]]),
            ),
            (
                "[windows-registry-key:key = 'HKLM\\\\a']",
                json!([["Windows-Registry-Key", {"attribute_key": "HKLM\\a"}]]),
            ),
            (
                "[url:value = 'a' OR url:value = 'a']",
                json!([["Url", {"value": "a"}]]),
            ),
            (
                "[email-message:from_ref.value = 'a@example.org' AND email-message:subject = 'x']",
                json!([["Email-Message", {"subject": "x"}]]),
            ),
            (
                "[network-traffic:src_ref.value = '192.0.2.1' OR network-traffic:dst_ref = 'x']",
                json!([]),
            ),
            (
                "[ipv4-addr:value != '192.0.2.1' OR ipv4-addr:value LIKE '192.%']",
                json!([]),
            ),
            ("[ipv4-addr:value = 'not an address']", json!([])),
            ("[process:pid = 5 OR software:version = '1']", json!([])),
            (
                "[malware:name = 'a' OR x-unknown:value = 'b' OR url:value = '']",
                json!([]),
            ),
        ];
        for (pattern, expected) in cases {
            assert_eq!(of_pattern(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn other_languages_make_no_observables() {
        let rule = element(
            "Indicator",
            json!({"name": "i", "pattern": "[url:value = 'a']", "pattern_type": "spl"}),
        );
        assert_eq!(observables(&rule), []);
    }

    #[test]
    fn a_pattern_makes_a_bounded_number_of_observables() {
        let tests: Vec<String> = (0..MOST + 5)
            .map(|number| format!("url:value = 'http://{number}'"))
            .collect();
        let made = of_pattern(&format!("[{}]", tests.join(" OR ")));
        assert_eq!(made.as_array().unwrap().len(), MOST);
    }

    #[test]
    fn what_follows_has_author_markings_labels_references_and_score_in_common() {
        let id = |stix_type: &str| {
            Ident::parse(&format!(
                "{stix_type}--00000000-0000-4000-8000-000000000001"
            ))
            .unwrap()
        };
        let mut source = element(
            "Indicator",
            json!({"name": "Bad", "pattern": "[url:value = 'a']", "pattern_type": "stix", "x_opencti_score": 70, "confidence": 30}),
        );
        let shared = [
            ("createdBy", id("identity")),
            ("objectMarking", id("marking-definition")),
            ("objectLabel", id("label")),
            ("externalReferences", id("external-reference")),
        ];
        for (name, target) in shared {
            source
                .refs
                .push((source.kind.reference(name).unwrap(), vec![target]));
        }
        let phases = source.kind.reference("killChainPhases").unwrap();
        source.refs.push((phases, vec![id("kill-chain-phase")]));

        let made = observables(&source).pop().unwrap();
        assert_eq!(
            Value::Object(made.attributes.clone()),
            json!({"value": "a", "x_opencti_score": 70, "x_opencti_description": "Simple observable of indicator Bad"})
        );
        for (name, target) in shared {
            assert_eq!(made.refs_of(name), [target]);
        }
        assert_eq!(made.refs.len(), shared.len());

        let back = indicator(&made).unwrap();
        assert_eq!(
            back.text("description"),
            Some("Simple indicator of observable a")
        );
        assert_eq!(back.attributes[SCORE], 70);
        assert_eq!(back.refs.len(), shared.len());

        let tie = based_on(id("indicator"), id("url"), &source).unwrap();
        assert_eq!(tie.kind.name, "based-on");
        assert_eq!(tie.ends, Some((id("indicator"), id("url"))));
        assert_eq!(tie.attributes["confidence"], 30);
        let names: Vec<&str> = tie
            .refs
            .iter()
            .map(|(reference, _)| reference.name.as_str())
            .collect();
        assert_eq!(names, ["createdBy", "objectMarking"]);
    }

    #[test]
    fn an_observable_is_found_by_its_key_property_or_all_its_hashes() {
        let cases = [
            (
                "IPv4-Addr",
                json!({"value": "192.0.2.1"}),
                Some("[ipv4-addr:value = '192.0.2.1']"),
            ),
            (
                "Url",
                json!({"value": "http://a/it's\\"}),
                Some("[url:value = 'http://a/it\\'s\\\\']"),
            ),
            (
                "Autonomous-System",
                json!({"number": 5, "name": "x"}),
                Some("[autonomous-system:number = 5]"),
            ),
            (
                "Windows-Registry-Key",
                json!({"attribute_key": "k"}),
                Some("[windows-registry-key:key = 'k']"),
            ),
            (
                "StixFile",
                json!({"name": "n", "hashes": {"SHA-1": SHA1, "MD5": MD5}}),
                Some(
                    "[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e' OR file:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709']",
                ),
            ),
            ("StixFile", json!({"name": "n"}), Some("[file:name = 'n']")),
            (
                "Email-Message",
                json!({"body": "b", "subject": "s"}),
                Some("[email-message:subject = 's']"),
            ),
            (
                "Email-Message",
                json!({"body": "b"}),
                Some("[email-message:body = 'b']"),
            ),
            (
                "User-Agent",
                json!({"value": "curl"}),
                Some("[user-agent:value = 'curl']"),
            ),
            ("Persona", json!({"persona_name": "p"}), None),
            ("SSH-Key", json!({"fingerprint_sha256": "p"}), None),
            ("Process", json!({"cwd": "/"}), None),
        ];
        for (name, attributes, expected) in cases {
            let observable = element(name, attributes);
            let made = indicator(&observable);
            assert_eq!(
                made.as_ref().and_then(|made| made.text("pattern")),
                expected,
                "{name}"
            );
            if let Some(made) = made {
                assert_eq!(made.text("x_opencti_main_observable_type"), Some(name));
                stix::required(&made).unwrap();
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn the_indicator_of_an_observable_leads_back_to_it(value in ".{1,40}") {
            let observable = element("Text", json!({"value": value}));
            if let Some(made) = indicator(&observable) {
                let back = observables(&made);
                proptest::prop_assert_eq!(back.len(), 1);
                proptest::prop_assert_eq!(&back[0].attributes["value"], &observable.attributes["value"]);
            }
        }
    }
}
