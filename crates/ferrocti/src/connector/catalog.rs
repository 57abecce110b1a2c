//! `ferrocti connector catalog` and `contract`: what there is to deploy, and what each has to be told.

use anyhow::{Context, Result, bail};
use ferrocti_catalog::{Contract, Property};
use serde_json::{Value, json};

use super::settings;
use crate::{
    cli::{CatalogArgs, RemoteArgs},
    client::Client,
    print::{cut, facts, list, say, show, table, text, yes},
};

const SOURCES: &str = "query Catalogs { catalogs { id name version source fetched_at error broken { place name fault } contracts } }";
const REFRESH: &str = "mutation Refresh { catalogsRefresh { id error } }";
const SEARCH: &str = "query Contracts($search: String, $types: [ConnectorType!], $cases: [String!], $supported: Boolean, $verified: Boolean, $catalog: ID, $after: Int) {
  contracts(search: $search, types: $types, use_cases: $cases, supported: $supported, verified: $verified, catalog: $catalog, first: 500, after: $after) {
    total next nodes { catalog_id slug title version type image short_description use_cases supported verified compatible license confidence versions remarks fault } } }";
const CONTRACT: &str = "query Contract($slug: String!, $version: String, $catalog: ID) { contract(slug: $slug, version: $version, catalog: $catalog) {
  catalog_id contract version versions compatible remarks } }";

/// `ferrocti connector catalog`
pub fn run(args: &CatalogArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    if args.refresh {
        client.call(REFRESH, json!({}))?;
    }
    if args.sources {
        return sources(&client, args);
    }
    let search = args.search.join(" ");
    let mut variables = json!({
        "search": (!search.is_empty()).then_some(search),
        "types": (!args.types.is_empty()).then_some(&args.types),
        "cases": (!args.use_cases.is_empty()).then_some(&args.use_cases),
        "supported": args.supported.then_some(true),
        "verified": args.verified.then_some(true),
        "catalog": args.catalog,
    });
    let mut found: Vec<Value> = Vec::new();
    loop {
        let mut data = client.call(SEARCH, variables.clone())?;
        let page = &mut data["contracts"];
        if let Value::Array(nodes) = page["nodes"].take() {
            found.extend(nodes);
        }
        let next = page["next"].take();
        if next.is_null() || next == variables["after"] {
            break;
        }
        variables["after"] = next;
    }
    let data = json!({ "contracts": found });
    show(&args.remote, &data, |data| {
        let (broken, fine): (Vec<&Value>, Vec<&Value>) =
            list(&data["contracts"]).partition(|contract| contract["fault"].is_string());
        table(
            "Connectors that can be deployed",
            &[
                "slug",
                "version",
                "type",
                "what it is",
                "verified",
                "catalog",
            ],
            fine.iter().map(|contract| {
                vec![
                    text(&contract["slug"]),
                    version(contract),
                    text(&contract["type"]),
                    cut(&text(&contract["title"]), 40),
                    yes(&contract["verified"]),
                    text(&contract["catalog_id"]),
                ]
            }),
        );
        if !broken.is_empty() {
            table(
                "Contracts that cannot be used",
                &["slug", "catalog", "why"],
                broken.iter().map(|contract| {
                    vec![
                        text(&contract["slug"]),
                        text(&contract["catalog_id"]),
                        text(&contract["fault"]),
                    ]
                }),
            );
        }
        say(format_args!(
            "\n{} in all; ferrocti connector contract SLUG shows what one has to be told",
            fine.len()
        ));
    });
    Ok(())
}

/// The version of a contract, with what speaks against it.
fn version(contract: &Value) -> String {
    let mut told = text(&contract["version"]);
    if contract["compatible"] == false {
        told.push_str(" (for another platform)");
    } else if contract["supported"] == false {
        told.push_str(" (not supported)");
    }
    told
}

fn sources(client: &Client, args: &CatalogArgs) -> Result<()> {
    let mut data = client.call(SOURCES, json!({}))?;
    if let (Some(id), Some(catalogs)) = (&args.catalog, data["catalogs"].as_array_mut()) {
        catalogs.retain(|catalog| catalog["id"] == *id.as_str());
    }
    for catalog in data["catalogs"].as_array_mut().into_iter().flatten() {
        // the contracts themselves are what `contract` is for
        catalog["contracts"] = json!(list(&catalog["contracts"]).count());
    }
    show(&args.remote, &data, |data| {
        table(
            "Catalogs",
            &[
                "id",
                "name",
                "version",
                "contracts",
                "broken",
                "from",
                "read at",
                "error",
            ],
            list(&data["catalogs"]).map(|catalog| {
                vec![
                    text(&catalog["id"]),
                    text(&catalog["name"]),
                    text(&catalog["version"]),
                    text(&catalog["contracts"]),
                    list(&catalog["broken"]).count().to_string(),
                    match &catalog["source"] {
                        Value::Null => "comes with Ferrocti".to_owned(),
                        source => text(source),
                    },
                    text(&catalog["fetched_at"]),
                    text(&catalog["error"]),
                ]
            }),
        );
    });
    Ok(())
}

/// `ferrocti connector contract`
pub fn contract(
    slug: &str,
    version: Option<&str>,
    catalog: Option<&str>,
    remote: &RemoteArgs,
) -> Result<()> {
    let client = Client::new(remote)?;
    let variables = json!({ "slug": slug, "version": version, "catalog": catalog });
    let mut data = client.call(CONTRACT, variables)?;
    let found = &mut data["contract"];
    if found.is_null() {
        bail!("there is no contract {slug:?}; `ferrocti connector catalog` shows all");
    }
    let contract = settings::contract(&found["contract"])
        .context("the contract cannot be read; is the platform of another version?")?;
    let document = found["contract"].as_str().unwrap_or_default();
    found["contract"] = serde_json::from_str(document)?;
    show(remote, &data, |data| describe(&data["contract"], &contract));
    Ok(())
}

fn describe(found: &Value, contract: &Contract) {
    let plain = |text: &str| crate::print::text(&json!(text));
    let versions: Vec<String> = list(&found["versions"]).map(text).collect();
    let mut about = vec![
        ("slug", plain(&contract.slug)),
        ("catalog", text(&found["catalog_id"])),
        ("version", text(&found["version"])),
        ("all versions", versions.join(", ")),
        ("image", plain(&contract.image)),
        ("type", contract.connector_type.name().to_owned()),
        ("fits this platform", yes(&found["compatible"])),
        ("supported", yes(&json!(contract.manager_supported))),
        ("verified", yes(&json!(contract.verified))),
    ];
    if let Some(confidence) = contract.max_confidence_level {
        about.push(("confidence", confidence.to_string()));
    }
    for remark in list(&found["remarks"]) {
        about.push(("remark", text(remark)));
    }
    facts(&plain(&contract.title), &about);
    let description = if contract.description.is_empty() {
        &contract.short_description
    } else {
        &contract.description
    };
    say(format_args!("\n{}", plain(description)));
    let Some(schema) = &contract.schema else {
        say("\nThere is no schema: any setting is passed on.");
        return;
    };
    // what must be said first, then in the schema's order
    let (needed, other): (Vec<&Property>, Vec<&Property>) = schema
        .properties()
        .iter()
        .partition(|property| property.required && property.default.is_none());
    table(
        "Settings",
        &["key", "what", "default", "for"],
        needed.into_iter().chain(other).map(|property| {
            vec![
                plain(&property.key),
                kind(property),
                match &property.default {
                    Some(default) => cut(&plain(default), 40),
                    None if property.required => "must be given".to_owned(),
                    None => "-".to_owned(),
                },
                cut(&plain(property.description.as_deref().unwrap_or("")), 90),
            ]
        }),
    );
}

/// What a value of a setting is, in a word or two.
fn kind(property: &Property) -> String {
    let mut told = if property.secret {
        "secret".to_owned()
    } else if !property.rules.allowed.is_empty() {
        cut(&property.rules.allowed.join("|"), 40)
    } else {
        match property.rules.format {
            Some(format) => format!("{format:?}").to_ascii_lowercase(),
            None => format!("{:?}", property.kind).to_ascii_lowercase(),
        }
    };
    if property.deprecated {
        told.push_str(", deprecated");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_against_a_contract_is_told_with_its_version() {
        for (contract, told) in [
            (
                json!({ "version": "1", "compatible": true, "supported": true }),
                "1",
            ),
            (
                json!({ "version": "1", "compatible": false, "supported": true }),
                "1 (for another platform)",
            ),
            (
                json!({ "version": "1", "compatible": true, "supported": false }),
                "1 (not supported)",
            ),
        ] {
            assert_eq!(version(&contract), told);
        }
    }

    #[test]
    fn the_kind_of_a_setting_says_what_may_be_written() {
        let catalog = ferrocti_catalog::local::catalog("1").unwrap();
        let schema = catalog.contracts[0].schema.as_ref().unwrap();
        for (key, told) in [
            ("SAMPLE_API_KEY", "secret"),
            ("CONNECTOR_LOG_LEVEL", "debug|info|warn|warning|error"),
            ("CONNECTOR_DURATION_PERIOD", "duration"),
            ("SAMPLE_OBJECTS", "integer"),
            ("CONNECTOR_SCOPE", "list"),
        ] {
            assert_eq!(kind(schema.property(key).unwrap()), told, "{key}");
        }
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[SOURCES, REFRESH, SEARCH, CONTRACT]);
    }
}
