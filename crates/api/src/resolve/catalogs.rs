//! What can be deployed: catalogs, their contracts, and the search in them.

use std::sync::Arc;

use ferrocti_catalog::{ConnectorType, Filter};
use ferrocti_connectors::catalogs::{Content, Found, Hit, Listed, Loaded, LookupError, Search};
use ferrocti_graphql::{FieldCall, Resolved};
use serde_json::{Value, json};

use super::users::internal_parents;
use super::{Answer, Node, Resolution};
use crate::fault::{Fault, code};

/// Contracts on a page when the client does not say.
const CONTRACTS: usize = 500;

impl Resolution<'_> {
    pub(super) fn catalog_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let catalogs = &self.state.services().catalogs;
        match call.name {
            "catalogs" => Ok(shown(catalogs.all())),
            "catalog" => {
                let id = call.text("id").unwrap_or_default();
                let found = catalogs.all().into_iter().find(|one| one.content.id == id);
                Ok(Resolved::node(
                    found.map(|one| Node::Catalog(Arc::new(one))),
                ))
            }
            "contract" => {
                let slug = call.text("slug").unwrap_or_default();
                match catalogs.find(call.text("catalog"), slug, call.text("version")) {
                    Ok(found) => Ok(self.extended(&found)),
                    Err(LookupError::Unknown { .. }) => Ok(Resolved::Null),
                    Err(error) => Err(error.into()),
                }
            }
            _ => self.contracts(call),
        }
    }

    /// Asks all sources for what is new.
    pub(super) fn refresh_catalogs(&self) -> Resolved<'static, Node> {
        shown(self.state.services().catalogs.refresh())
    }

    fn contracts(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let texts = |name: &str| -> Vec<String> {
            let list = call.argument(name).and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let search = Search {
            catalog: call.text("catalog").map(str::to_owned),
            filter: Filter {
                types: texts("types")
                    .iter()
                    .filter_map(|name| ConnectorType::of(name))
                    .collect(),
                use_cases: texts("use_cases"),
                supported: call.argument("supported").and_then(Value::as_bool),
                verified: call.argument("verified").and_then(Value::as_bool),
                text: call.text("search").unwrap_or_default().to_owned(),
            },
        };
        let first = super::graph::first(call, CONTRACTS)?;
        let after = match call.argument("after").and_then(Value::as_i64) {
            None => 0,
            Some(after) => usize::try_from(after)
                .map_err(|_| Fault::functional("after must be zero or more"))?,
        };
        let hits = self.state.services().catalogs.search(&search)?;
        let total = hits.len();
        let page: Vec<Value> = hits.iter().skip(after).take(first).map(summary).collect();
        let end = after.saturating_add(page.len());
        let next = (end < total).then_some(end);
        Ok(Resolved::Node(Node::Data(
            "ContractPage",
            json!({ "total": total, "next": next, "nodes": page }),
        )))
    }

    fn extended(&self, found: &Found) -> Resolved<'static, Node> {
        let catalogs = &self.state.services().catalogs;
        let contract = &found.contract;
        let mut versions: Vec<&Listed> = Vec::new();
        let all = catalogs.all();
        for content in all.iter().map(|loaded| &loaded.content) {
            if content.id == found.catalog {
                let of_slug = |listed: &&Listed| listed.about.slug == contract.slug;
                versions.extend(content.contracts.iter().filter(of_slug));
            }
        }
        versions.sort_by(|a, b| b.about.compare_versions(&a.about));
        let versions: Vec<&str> = versions
            .iter()
            .map(|listed| listed.about.version.as_str())
            .collect();
        let remarks: Vec<String> = contract.remarks().iter().map(ToString::to_string).collect();
        Resolved::Node(Node::Data(
            "ExtendedContract",
            json!({
                "catalog_id": found.catalog,
                "contract": contract.asked().to_string(),
                "version": contract.version,
                "versions": versions,
                "compatible": contract.compatibility(catalogs.platform()) == ferrocti_catalog::Compatibility::Compatible,
                "remarks": remarks,
            }),
        ))
    }

    /// A field of a catalog.
    pub(super) fn catalog_field<'p>(
        &self,
        call: &FieldCall<'_>,
        catalog: &'p Loaded,
    ) -> Answer<'p> {
        let content: &Content = &catalog.content;
        Ok(match call.name {
            "id" => Resolved::Text(&content.id),
            "standard_id" => Resolved::leaf(super::standard_id("catalog", &content.id)),
            "entity_type" => Resolved::Text("Catalog"),
            "parent_types" => internal_parents(),
            "name" => Resolved::Text(&content.name),
            "description" => Resolved::Text(&content.description),
            "version" => Resolved::Text(&content.version),
            "contracts" => {
                let offered = self.state.services().catalogs.offered(content)?;
                let texts: Vec<String> = offered.iter().map(Value::to_string).collect();
                Resolved::leaf(Value::from(texts))
            }
            "source" => Resolved::Text(&catalog.source),
            "fetched_at" => super::users::date(content.fetched_at),
            "checked_at" => super::users::date(catalog.checked_at),
            "error" => Resolved::from(catalog.error.as_deref()),
            "broken" => Resolved::nodes(content.broken.iter().map(|broken| {
                let fault = broken.fault.to_string();
                let data = json!({ "place": broken.place, "name": broken.name, "fault": fault });
                Node::Data("BrokenContract", data)
            })),
            _ => Resolved::Null,
        })
    }
}

fn shown(catalogs: Vec<Loaded>) -> Resolved<'static, Node> {
    Resolved::nodes(
        catalogs
            .into_iter()
            .map(|catalog| Node::Catalog(Arc::new(catalog))),
    )
}

/// A place of a page: `ContractSummary`.
fn summary(hit: &Hit) -> Value {
    match hit {
        Hit::Contract {
            catalog,
            index,
            compatible,
            versions,
        } => {
            let Some(listed) = catalog.contracts.get(*index) else {
                return Value::Null;
            };
            let about = &listed.about;
            json!({
                "catalog_id": catalog.id,
                "slug": about.slug,
                "title": about.title,
                "version": about.version,
                "type": about.connector_type.name(),
                "image": about.image,
                "short_description": about.short_description,
                "use_cases": about.use_cases,
                "solution_categories": about.solution_categories,
                "supported": about.manager_supported,
                "verified": about.verified,
                "compatible": compatible,
                "license": about.license_type,
                "confidence": about.max_confidence_level,
                "versions": versions,
                "remarks": listed.remarks,
            })
        }
        Hit::Broken { catalog, index } => {
            let Some(broken) = catalog.broken.get(*index) else {
                return Value::Null;
            };
            let name = broken.name.as_deref().unwrap_or(&broken.place);
            json!({
                "catalog_id": catalog.id,
                "slug": name,
                "title": name,
                "use_cases": [],
                "solution_categories": [],
                "supported": false,
                "verified": false,
                "compatible": false,
                "versions": [],
                "remarks": [],
                "fault": broken.fault.to_string(),
            })
        }
    }
}

impl From<LookupError> for Fault {
    fn from(error: LookupError) -> Self {
        let code = match &error {
            LookupError::Unknown { .. } => code::UNSUPPORTED,
            LookupError::Copy { .. } => code::DATABASE,
            LookupError::NoCatalog { .. }
            | LookupError::Broken { .. }
            | LookupError::NoVersion { .. }
            | LookupError::Incompatible { .. } => code::FUNCTIONAL,
        };
        Self::new(code, error.to_string())
    }
}
