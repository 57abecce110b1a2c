//! Forms that values of observables must have: addresses, names, hashes.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::EntityType;

/// What is expected of the first value that has not the form of its type; `None` when all is well.
pub fn fault<'a>(
    kind: &EntityType,
    attributes: &'a Map<String, Value>,
) -> Option<(&'a str, &'static str)> {
    let value = attributes.get("value").and_then(Value::as_str);
    let check = |correct: fn(&str) -> bool, expected: &'static str| {
        value
            .filter(|value| !correct(value))
            .map(|value| (value, expected))
    };
    match kind.name.as_str() {
        "Autonomous-System" => {
            let number = attributes.get("number").and_then(Value::as_i64)?;
            (!(0..=9_999_999_999).contains(&number))
                .then_some(("number", "a number of at most ten digits is expected"))
        }
        "Domain-Name" => check(is_domain, "a domain name such as example.org is expected"),
        "Hostname" => check(
            is_hostname,
            "a host name such as mail.example.org is expected",
        ),
        "Email-Addr" => check(is_email, "an address such as name@example.org is expected"),
        "IPv4-Addr" => check(
            is_ipv4,
            "an IPv4 address, with or without a prefix length, is expected",
        ),
        "IPv6-Addr" => check(
            is_ipv6,
            "an IPv6 address, with or without a prefix length, is expected",
        ),
        "Mac-Addr" => check(
            is_mac,
            "six pairs of hexadecimal digits, separated by colons or hyphens, are expected",
        ),
        "StixFile" | "Artifact" | "X509-Certificate" => {
            hash_fault(attributes.get("hashes")?.as_object()?)
        }
        "Software" => {
            let named = ["name", "cpe", "swid"].iter().any(|key| {
                attributes
                    .get(*key)
                    .and_then(Value::as_str)
                    .is_some_and(|text| !text.trim().is_empty())
            });
            (!named).then_some(("", "a name, a CPE or a SWID tag is expected"))
        }
        _ => None,
    }
}

fn hash_fault(hashes: &Map<String, Value>) -> Option<(&str, &'static str)> {
    let expected = [
        ("MD5", 32, "an MD5 has 32 hexadecimal digits"),
        ("SHA-1", 40, "a SHA-1 has 40 hexadecimal digits"),
        ("SHA-256", 64, "a SHA-256 has 64 hexadecimal digits"),
        ("SHA-512", 128, "a SHA-512 has 128 hexadecimal digits"),
    ];
    expected.iter().find_map(|(algorithm, digits, message)| {
        let hash = hashes.get(*algorithm)?.as_str()?;
        let correct = hash.len() == *digits && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        (!correct).then_some((hash, *message))
    })
}

/// Labels of 1 to 63 letters, digits, hyphens and underscores; letters of any script, since names are written that way.
fn is_hostname(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let length = label.chars().count();
    (1..=63).contains(&length)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| {
            c.is_alphanumeric()
                || c == '-'
                || c == '_'
                || (!c.is_ascii() && !c.is_whitespace() && !c.is_control())
        })
}

fn is_domain(name: &str) -> bool {
    let bare = name.strip_suffix('.').unwrap_or(name);
    is_hostname(name)
        && bare
            .rsplit_once('.')
            .is_some_and(|(_, last)| !last.chars().all(|c| c.is_ascii_digit()))
}

fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let local_correct = !local.is_empty()
        && (quoted
            || !local.chars().any(|c| {
                c.is_whitespace()
                    || c.is_control()
                    || matches!(c, '@' | '<' | '>' | ',' | ';' | '"')
            }));
    let literal = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    local_correct
        && literal.map_or_else(
            || is_hostname(domain),
            |ip| is_ipv4(ip) || is_ipv6(ip.strip_prefix("IPv6:").unwrap_or(ip)),
        )
}

fn is_ipv4(text: &str) -> bool {
    let (address, prefix) = split_prefix(text);
    address.parse::<Ipv4Addr>().is_ok() && prefix_in(prefix, 32)
}

fn is_ipv6(text: &str) -> bool {
    let (address, prefix) = split_prefix(text);
    let address = address
        .split_once('%')
        .map_or(address, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok() && prefix_in(prefix, 128)
}

fn split_prefix(text: &str) -> (&str, Option<&str>) {
    text.split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)))
}

fn prefix_in(prefix: Option<&str>, bits: u8) -> bool {
    prefix.is_none_or(|prefix| {
        prefix.bytes().all(|byte| byte.is_ascii_digit())
            && prefix.parse::<u8>().is_ok_and(|length| length <= bits)
    })
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains(':') { ':' } else { '-' };
    let mut pairs = 0;
    let correct = text.split(separator).all(|pair| {
        pairs += 1;
        pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    correct && pairs == 6
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;

    #[test]
    fn values_are_judged_by_their_type() {
        let cases = [
            ("Domain-Name", json!({"value": "example.org"}), true),
            (
                "Domain-Name",
                json!({"value": "_dmarc.xn--bcher-kva.example."}),
                true,
            ),
            ("Domain-Name", json!({"value": "bücher.example"}), true),
            ("Domain-Name", json!({"value": "localhost"}), false),
            ("Domain-Name", json!({"value": "192.0.2.1"}), false),
            ("Domain-Name", json!({"value": "a..b"}), false),
            ("Domain-Name", json!({"value": "-a.example"}), false),
            ("Domain-Name", json!({"value": "a b.example"}), false),
            ("Hostname", json!({"value": "localhost"}), true),
            ("Hostname", json!({"value": "a/b"}), false),
            ("Email-Addr", json!({"value": "a.b+c@example.org"}), true),
            ("Email-Addr", json!({"value": "a@[192.0.2.1]"}), true),
            ("Email-Addr", json!({"value": "example.org"}), false),
            ("Email-Addr", json!({"value": "a b@example.org"}), false),
            ("IPv4-Addr", json!({"value": "192.0.2.1"}), true),
            ("IPv4-Addr", json!({"value": "192.0.2.0/24"}), true),
            ("IPv4-Addr", json!({"value": "192.0.2.0/33"}), false),
            ("IPv4-Addr", json!({"value": "192.0.2.256"}), false),
            ("IPv6-Addr", json!({"value": "2001:db8::/32"}), true),
            ("IPv6-Addr", json!({"value": "2001:db8::1"}), true),
            ("IPv6-Addr", json!({"value": "2001:db8::g"}), false),
            ("Mac-Addr", json!({"value": "00:00:5e:00:53:AF"}), true),
            ("Mac-Addr", json!({"value": "00-00-5e-00-53-af"}), true),
            ("Mac-Addr", json!({"value": "00:00:5e:00:53"}), false),
            ("Autonomous-System", json!({"number": 64496}), true),
            ("Autonomous-System", json!({"number": -1}), false),
            (
                "StixFile",
                json!({"hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}}),
                true,
            ),
            ("StixFile", json!({"hashes": {"MD5": "d41d"}}), false),
            ("StixFile", json!({"hashes": {"SSDEEP": "3:a:b"}}), true),
            ("Software", json!({"version": "1"}), false),
            (
                "Software",
                json!({"cpe": "cpe:2.3:a:a:b:*:*:*:*:*:*:*:*"}),
                true,
            ),
            ("Url", json!({"value": "anything at all"}), true),
        ];
        for (kind, attributes, correct) in cases {
            let kind = Registry::get().by_name(kind).unwrap();
            assert_eq!(
                fault(kind, attributes.as_object().unwrap()).is_none(),
                correct,
                "{} {attributes}",
                kind.name
            );
        }
    }
}
