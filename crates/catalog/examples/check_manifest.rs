//! The larger check: reads a manifest, configures every contract with the least that it asks for, and prints what it met. Fails when a contract
//! is broken, does not survive being stored, or refuses its own defaults.
//!
//! ```text
//! cargo run -p ferrocti-catalog --example check_manifest -- manifest.json [platform version]
//! ```

use std::{collections::BTreeMap, env, fs, process::ExitCode};

use ferrocti_catalog::{
    Catalog, Contract, Extra, Given, Kind, Property, Request, catalog::Filter, configure,
    schema::Format, search,
};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("give the path of a manifest");
        return ExitCode::FAILURE;
    };
    let platform = arguments.next().unwrap_or_else(|| "7.261026.0".to_owned());
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let catalog = match Catalog::read(&bytes, "check") {
        Ok(catalog) => catalog,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut faults = 0_usize;
    for broken in &catalog.broken {
        faults += 1;
        println!(
            "broken {} {}: {}",
            broken.place,
            broken.name.as_deref().unwrap_or("?"),
            broken.fault
        );
    }
    let mut types: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut properties, mut sealed_by_name) = (0, Vec::new());
    for contract in &catalog.contracts {
        *types.entry(contract.connector_type.name()).or_default() += 1;
        for remark in contract.remarks() {
            println!("remark {}: {remark}", contract.slug);
        }
        if Contract::read(&contract.document()).as_ref() != Ok(contract) {
            faults += 1;
            println!("{}: is not the same after it was stored", contract.slug);
        }
        let Some(schema) = &contract.schema else {
            continue;
        };
        properties += schema.properties().len();
        sealed_by_name.extend(
            schema
                .properties()
                .iter()
                .filter(|property| {
                    property.secret && property.rules.format != Some(Format::Password)
                })
                .map(|property| property.key.clone()),
        );
        let given: Vec<Given> = schema
            .properties()
            .iter()
            .filter(|property| property.required && property.default.is_none())
            .map(|property| Given::new(&property.key, plausible(property)))
            .collect();
        let request = Request {
            title: &contract.title,
            schema: Some(schema),
            given: &given,
            stored: &[],
            extra: Extra::Refuse,
        };
        if let Err(invalid) = configure(&request, &|_| Ok("AgAB".to_owned())) {
            faults += 1;
            println!("{invalid}");
        }
    }
    let count = |filter: Filter| search(&catalog.contracts, &filter).len();
    println!(
        "{} contracts of {}, {properties} settings, {} offered to {platform}, {} supported, {} verified, types {types:?}",
        catalog.contracts.len(),
        catalog.contracts.len() + catalog.broken.len(),
        catalog.offered(&platform).len(),
        count(Filter {
            supported: Some(true),
            ..Filter::default()
        }),
        count(Filter {
            verified: Some(true),
            ..Filter::default()
        }),
    );
    println!(
        "secrets by their names alone: {}",
        sealed_by_name.join(", ")
    );
    if faults == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{faults} faults");
        ExitCode::FAILURE
    }
}

/// A value that a property takes.
fn plausible(property: &Property) -> String {
    if let Some(first) = property.rules.allowed.first() {
        return first.clone();
    }
    match (property.kind, property.rules.format) {
        (Kind::Boolean, _) => "true",
        (Kind::Integer | Kind::Number, _) => "10",
        (Kind::Object, _) => "{}",
        _ if property.json => "{}",
        (_, Some(Format::Uri)) => "https://example.org",
        (_, Some(Format::Duration)) => "PT1H",
        (_, Some(Format::Date)) => "2026-01-31",
        (_, Some(Format::DateTime)) => "2026-01-31T00:00:00Z",
        (_, Some(Format::Email)) => "name@example.org",
        _ => "something",
    }
    .to_owned()
}
