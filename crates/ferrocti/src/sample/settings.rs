//! What the sample connector is told: environment variables, checked all at once.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use ferrocti_catalog::Secret;
use jiff::{Span, civil};

/// The shortest time between two runs; shorter ones would only keep a platform busy.
const LEAST_PERIOD: Duration = Duration::from_secs(1);
/// The longest one that is understood: a mistyped period must not overflow the clock.
const LONGEST_PERIOD: Duration = Duration::from_secs(366 * 24 * 3600);
/// How many objects a run sends at most.
const MOST_OBJECTS: u64 = 1000;

/// How much is told in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What went wrong and is tried again.
    Warn,
    /// What ends the connector.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        })
    }
}

/// The settings of one sample connector.
#[derive(Debug)]
pub struct Settings {
    /// Address of the platform, with its base path.
    pub url: String,
    /// Token of the connector's user.
    pub token: Secret,
    /// Id under which it registers.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Types that it says it sends.
    pub scope: Vec<String>,
    /// Least level of the log.
    pub level: Level,
    /// Time between two runs.
    pub period: Duration,
    /// Objects of a run.
    pub objects: u64,
    /// Whether it ends with an error as soon as it is started.
    pub fail: bool,
    /// A secret without a use.
    pub api_key: Option<Secret>,
}

/// Settings that cannot be used: every one of them, with what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

impl Settings {
    /// Reads the settings. A variable that is empty counts as not set.
    ///
    /// # Errors
    /// Everything that is missing or wrong. A secret is in no message.
    pub fn read(env: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let get = |name: &str| {
            env.get(name)
                .map(|value| value.trim())
                .filter(|value| !value.is_empty())
        };
        let mut faults = Vec::new();
        let mut needed = |name: &str, meaning: &str| {
            get(name).map(str::to_owned).unwrap_or_else(|| {
                faults.push(format!("{name} is not set: {meaning}"));
                String::new()
            })
        };
        let url = needed("OPENCTI_URL", "the address of the platform");
        let token = needed("OPENCTI_TOKEN", "the token of the connector's user");
        let id = needed(
            "CONNECTOR_ID",
            "an id of its own that never changes, such as a UUID",
        );
        if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
            faults.push(format!(
                "OPENCTI_URL is {url:?}; it has to begin with http:// or https://"
            ));
        }
        let name = get("CONNECTOR_NAME")
            .unwrap_or("Ferrocti sample")
            .to_owned();
        if name.chars().count() < 2 {
            faults.push("CONNECTOR_NAME needs at least two characters".to_owned());
        }
        let scope = get("CONNECTOR_SCOPE").unwrap_or("report,indicator,intrusion-set");
        let read = |name: &str, default: &str, expected: &str| {
            let text = get(name).unwrap_or(default).to_owned();
            (text, format!("{name} has to be {expected}"))
        };
        let (text, fault) = read(
            "CONNECTOR_LOG_LEVEL",
            "info",
            "debug, info, warn, warning or error",
        );
        let level = match text.to_ascii_lowercase().as_str() {
            "debug" => Some(Level::Debug),
            "info" => Some(Level::Info),
            "warn" | "warning" => Some(Level::Warn),
            "error" => Some(Level::Error),
            _ => None,
        };
        let level = level.unwrap_or_else(|| {
            faults.push(format!("{fault}, not {text:?}"));
            Level::Info
        });
        let (text, fault) = read(
            "CONNECTOR_DURATION_PERIOD",
            "PT5M",
            "an ISO 8601 duration from PT1S to P366D, e.g. PT5M",
        );
        let period = period(&text).unwrap_or_else(|| {
            faults.push(format!("{fault}, not {text:?}"));
            LEAST_PERIOD
        });
        let (text, fault) = read("SAMPLE_OBJECTS", "10", "a number from 1 to 1000");
        let objects = u64::from_str(&text).ok();
        let objects = objects.filter(|count| (1..=MOST_OBJECTS).contains(count));
        let objects = objects.unwrap_or_else(|| {
            faults.push(format!("{fault}, not {text:?}"));
            1
        });
        let (text, fault) = read("SAMPLE_FAIL", "false", "true or false");
        let fail = bool::from_str(&text.to_ascii_lowercase()).unwrap_or_else(|_| {
            faults.push(format!("{fault}, not {text:?}"));
            false
        });
        if !faults.is_empty() {
            return Err(Invalid(faults));
        }
        Ok(Self {
            url,
            token: Secret::new(token),
            id,
            name,
            scope: scope
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            level,
            period,
            objects,
            fail,
            api_key: get("SAMPLE_API_KEY").map(Secret::new),
        })
    }
}

/// A time between runs as ISO 8601 writes it. A month counts 31 days, a year 365.
fn period(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let signed = span.to_duration(civil::date(2026, 1, 1)).ok()?;
    let period = Duration::try_from(signed).ok()?;
    (LEAST_PERIOD..=LONGEST_PERIOD)
        .contains(&period)
        .then_some(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        [
            ("OPENCTI_URL", "http://127.0.0.1:8080"),
            ("OPENCTI_TOKEN", "t0ken"),
            ("CONNECTOR_ID", "c1"),
        ]
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_contract() {
        let contract = ferrocti_catalog::local::catalog("1").unwrap();
        let schema = contract.contracts[0].schema.as_ref().unwrap();
        let mut said = BTreeMap::new();
        for property in schema.properties() {
            if let Some(default) = &property.default {
                said.insert(property.key.clone(), default.clone());
            }
        }
        let more: Vec<(&str, &str)> = said.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let (bare, full) = (
            Settings::read(&env(&[])).unwrap(),
            Settings::read(&env(&more)).unwrap(),
        );
        assert_eq!(format!("{bare:?}"), format!("{full:?}"));
    }

    #[test]
    fn values_are_read_as_composers_write_them() {
        let settings = Settings::read(&env(&[
            ("CONNECTOR_SCOPE", "report, indicator,"),
            ("CONNECTOR_LOG_LEVEL", "warning"),
            ("CONNECTOR_DURATION_PERIOD", "P1DT1H"),
            ("SAMPLE_OBJECTS", "1000"),
            ("SAMPLE_FAIL", "True"),
            ("SAMPLE_API_KEY", "  "),
        ]))
        .unwrap();
        assert_eq!(settings.scope, ["report", "indicator"]);
        assert_eq!(settings.level, Level::Warn);
        assert_eq!(settings.period, Duration::from_secs(25 * 3600));
        assert_eq!(settings.objects, 1000);
        assert!(settings.fail);
        assert!(settings.api_key.is_none(), "blank is not set");
    }

    #[test]
    fn every_wrong_value_is_named_with_what_is_expected() {
        for (name, value, expected) in [
            ("OPENCTI_URL", "127.0.0.1:8080", "http://"),
            ("OPENCTI_TOKEN", " ", "not set"),
            ("CONNECTOR_ID", "", "not set"),
            ("CONNECTOR_NAME", "x", "two characters"),
            ("CONNECTOR_LOG_LEVEL", "loud", "debug, info"),
            ("CONNECTOR_DURATION_PERIOD", "5 parsecs", "ISO 8601"),
            ("CONNECTOR_DURATION_PERIOD", "PT0S", "from PT1S"),
            ("CONNECTOR_DURATION_PERIOD", "-PT5M", "from PT1S"),
            ("CONNECTOR_DURATION_PERIOD", "P9999Y", "P366D"),
            ("SAMPLE_OBJECTS", "0", "from 1 to 1000"),
            ("SAMPLE_OBJECTS", "1001", "from 1 to 1000"),
            ("SAMPLE_OBJECTS", "ten", "from 1 to 1000"),
            ("SAMPLE_FAIL", "yes", "true or false"),
        ] {
            let Invalid(faults) = Settings::read(&env(&[(name, value)])).unwrap_err();
            assert_eq!(faults.len(), 1, "{name}={value}: {faults:?}");
            assert!(faults[0].contains(name), "{faults:?}");
            assert!(faults[0].contains(expected), "{name}={value}: {faults:?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once_and_no_secret_is() {
        let mut env = env(&[("SAMPLE_OBJECTS", "x"), ("SAMPLE_API_KEY", "s3cret")]);
        env.remove("CONNECTOR_ID");
        let told = Settings::read(&env).unwrap_err().to_string();
        assert!(told.contains("CONNECTOR_ID") && told.contains("SAMPLE_OBJECTS"));
        assert!(
            !told.contains("t0ken") && !told.contains("s3cret"),
            "{told}"
        );
    }
}
