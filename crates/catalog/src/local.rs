//! The catalog that comes with Ferrocti: its own sample connector, so that managed connectors can be tried with no network.

use crate::catalog::{Catalog, ManifestError};

/// The id of this catalog.
pub const CATALOG: &str = "ferrocti-local";

/// The slug of the sample connector.
pub const SAMPLE: &str = "ferrocti-sample";

const DATA: &str = include_str!("../data/local.json");

/// The catalog, with `version` as the version of its contracts: what comes with a binary has the binary's version.
///
/// # Errors
/// The data that is built in cannot be read, which a test excludes.
pub fn catalog(version: &str) -> Result<Catalog, ManifestError> {
    let mut catalog = Catalog::read(DATA.as_bytes(), CATALOG)?;
    version.clone_into(&mut catalog.version);
    for contract in &mut catalog.contracts {
        version.clone_into(&mut contract.version);
        contract.id = format!("{}-{version}", contract.slug);
    }
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Launch, SELF_PROGRAM};

    #[test]
    fn the_sample_connector_needs_nothing_to_be_deployed() {
        let catalog = catalog("0.1.0").unwrap();
        assert_eq!(catalog.broken, []);
        assert_eq!(catalog.id, CATALOG);
        let sample = catalog.version(SAMPLE, "0.1.0").unwrap();
        assert_eq!(sample.remarks(), []);
        let schema = sample.schema.as_ref().unwrap();
        assert!(
            schema
                .properties()
                .iter()
                .all(|property| !property.required)
        );
        let Launch::Command { command, .. } = sample.launch() else {
            panic!("it is a command");
        };
        assert_eq!(command[0], SELF_PROGRAM);
    }
}
