//! Names: of an instance of a connector, and of its settings in files and in the environment.

use ferrocti_model::clock::Entropy;

/// The longest name of an instance, in characters.
const LONGEST: usize = 63;

/// The name of an instance from what somebody typed, as upstream makes it when a connector is added: runs of what is no ASCII letter or digit
/// become `-`, lower case, no `-` at the ends, 63 characters at most; nothing left becomes `a-` with a digit.
#[must_use]
pub fn instance_name(typed: &str, entropy: &dyn Entropy) -> String {
    let mut out = String::with_capacity(typed.len());
    for c in typed.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(LONGEST);
    let out = out.trim_end_matches('-');
    if out.is_empty() {
        let mut byte = [0];
        entropy.fill(&mut byte);
        return format!("a-{}", byte[0] % 10);
    }
    out.to_owned()
}

/// The environment variable of a setting in a connector's `config.yml`: `connector.log_level` is `CONNECTOR_LOG_LEVEL`.
#[must_use]
pub fn variable_name(section: &str, key: &str) -> String {
    format!("{section}_{key}").to_uppercase().replace('-', "_")
}

/// The section and the key of an environment variable in a connector's `config.yml`, split at the first `_`. `None`: there is none in it.
#[must_use]
pub fn setting_name(variable: &str) -> Option<(String, String)> {
    let (section, key) = variable.split_once('_')?;
    (!section.is_empty() && !key.is_empty()).then(|| (section.to_lowercase(), key.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use ferrocti_model::clock::SeededEntropy;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_instances_are_made_as_upstream_makes_them() {
        let entropy = SeededEntropy::new(1);
        for (typed, name) in [
            ("MITRE ATT&CK", "mitre-att-ck"),
            ("ServiceNow", "servicenow"),
            ("  --x--  ", "x"),
            ("Ünïcode", "n-code"),
            ("a_b.c", "a-b-c"),
        ] {
            assert_eq!(instance_name(typed, &entropy), name, "{typed}");
        }
        let long = format!("{}-tail", "a".repeat(62));
        assert_eq!(instance_name(&long, &entropy), "a".repeat(62));
        let nothing = instance_name("鍵", &entropy);
        assert!(nothing.starts_with("a-") && nothing.len() == 3, "{nothing}");
    }

    #[test]
    fn settings_of_files_and_variables_are_one() {
        assert_eq!(
            variable_name("connector", "log_level"),
            "CONNECTOR_LOG_LEVEL"
        );
        assert_eq!(
            setting_name("CONNECTOR_LOG_LEVEL"),
            Some(("connector".to_owned(), "log_level".to_owned()))
        );
        assert_eq!(setting_name("TZ"), None);
    }

    proptest! {
        #[test]
        fn every_name_of_an_instance_can_be_a_host_name(typed in "\\PC*") {
            let name = instance_name(&typed, &SeededEntropy::new(3));
            prop_assert!(!name.is_empty() && name.len() <= 63);
            prop_assert!(!name.starts_with('-') && !name.ends_with('-'));
            prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        }
    }
}
