//! Managed connectors as people deploy, change and ask for them. Who may do what is decided by `ferrocti_connectors`, in the transaction of the
//! change.

use std::sync::Arc;

use ferrocti_catalog::generic::{self, Generic};
use ferrocti_catalog::launch::Runtime;
use ferrocti_catalog::{Extra, Given};
use ferrocti_connectors::catalogs::Found;
use ferrocti_connectors::managed::{
    Change, Configuration, Deploy, Managed, Outcome, RequestedStatus, UserChoice,
};
use ferrocti_graphql::{FieldCall, Resolved};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::record::{Record, Shown, value};
use super::{Answer, Node, Resolution};
use crate::fault::{Fault, code};

impl Resolution<'_> {
    pub(super) fn managed_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let connectors = &self.state.services().connectors;
        let acting = self.caller.acting()?;
        let input = Input::of(call);
        let id = call.text("id").unwrap_or_default();
        let outcome = match call.name {
            "managedConnectorAdd" => {
                let outcome = connectors.deploy(acting, self.added(&input)?)?;
                return self.for_composer(&outcome.connector.id);
            }
            "managedConnectorEdit" => {
                let id = input.needed("id")?;
                let outcome =
                    connectors.configure(acting, id, edited(&input, self.extra_of(id)?)?)?;
                return self.for_composer(&outcome.connector.id);
            }
            "updateConnectorRequestedStatus" => {
                let id = input.needed("id")?;
                let requested = match input.text("status") {
                    Some("starting") => RequestedStatus::Starting,
                    _ => RequestedStatus::Stopping,
                };
                connectors.request(acting, id, requested)?;
                return self.for_composer(id);
            }
            "managedConnectorDeploy" => connectors.deploy(acting, self.deployed(&input)?)?,
            "managedConnectorConfigure" => {
                let id = input.needed("id")?;
                connectors.configure(acting, id, configured(&input, self.extra_of(id)?)?)?
            }
            "managedConnectorUpgrade" => {
                let found = self.next_contract(id, call.text("version"))?;
                connectors.upgrade(acting, id, &found.catalog, &found.contract)?
            }
            "managedConnectorRollback" => {
                let number = call.argument("number").and_then(Value::as_i64);
                connectors.roll_back(acting, id, number)?
            }
            _ => Outcome {
                connector: connectors.restart(acting, id)?,
                notices: Vec::new(),
            },
        };
        let notices: Vec<String> = outcome.notices.iter().map(ToString::to_string).collect();
        let connector = Node::Connector(Arc::new(outcome.connector));
        Ok(Resolved::Node(Record::node(vec![
            ("connector", Shown::Node(Some(connector))),
            ("notices", value(notices)),
        ])))
    }

    /// What upstream's pages send.
    fn added(&self, input: &Input<'_>) -> Result<Deploy, Fault> {
        let catalog = input.needed("catalog_id")?;
        let image = input.needed("manager_contract_image")?;
        let catalogs = &self.state.services().catalogs;
        let found = catalogs.by_image(Some(catalog), image)?;
        if !found.contract.manager_supported {
            return Err(Fault::unsupported(
                "You have not chosen a connector supported by the manager; managedConnectorDeploy runs it all the same.",
            ));
        }
        let user = input.needed("user_id")?;
        if user.trim().chars().count() < 2 {
            return Err(Fault::functional(
                "user_id must have at least 2 characters.",
            ));
        }
        let user = if input.truth("automatic_user") == Some(true) {
            UserChoice::Automatic {
                name: Some(user.to_owned()),
                confidence: input.text("confidence_level").map(level).transpose()?,
            }
        } else {
            UserChoice::Existing(user.to_owned())
        };
        Ok(Deploy {
            id: None,
            name: input.needed("name")?.to_owned(),
            catalog: found.catalog,
            contract: found.contract,
            given: input.given("manager_contract_configuration"),
            extra: Extra::Ignore,
            user,
            composer: None,
            runtime: Runtime::default(),
            start: false,
            pinned: false,
            declared: false,
        })
    }

    fn deployed(&self, input: &Input<'_>) -> Result<Deploy, Fault> {
        let version = input.text("version");
        let found = self.chosen(input, version)?;
        let extra = extra_in(&found.catalog);
        let user = match input.text("user_id") {
            Some(user) => UserChoice::Existing(user.to_owned()),
            None => UserChoice::Automatic {
                name: input.text("user_name").map(str::to_owned),
                confidence: input
                    .get("confidence_level")
                    .map(|confidence| level(&confidence.to_string()))
                    .transpose()?,
            },
        };
        Ok(Deploy {
            id: input.text("id").map(str::to_owned),
            name: input.needed("name")?.to_owned(),
            catalog: found.catalog,
            contract: found.contract,
            given: input.given("configuration"),
            extra: input.extra().unwrap_or(extra),
            user,
            composer: input.text("composer").map(str::to_owned),
            runtime: input.json("runtime")?.unwrap_or_default(),
            start: input.truth("start").unwrap_or(true),
            pinned: input.truth("pinned").unwrap_or(version.is_some()),
            declared: false,
        })
    }

    /// What becomes of keys that the contract of a connector does not know, unless somebody says it.
    fn extra_of(&self, id: &str) -> Result<Extra, Fault> {
        let connector = self.read(|snapshot| Ok(snapshot.connector(id)?))?;
        let catalog = connector.and_then(|connector| connector.catalog_id);
        Ok(extra_in(&catalog.unwrap_or_default()))
    }

    /// The contract that a connector is made from.
    fn chosen(&self, input: &Input<'_>, version: Option<&str>) -> Result<Found, Fault> {
        let catalogs = &self.state.services().catalogs;
        let catalog = input.text("catalog");
        let generic: Option<Generic> = input.json("generic")?;
        match (input.text("contract"), input.text("image"), generic) {
            (Some(slug), None, None) => Ok(catalogs.find(catalog, slug, version)?),
            (None, Some(image), None) => {
                let newest = catalogs.by_image(catalog, image);
                match version {
                    None => Ok(newest?),
                    // none of its versions may fit the platform, and the one that is named is taken all the same
                    Some(_) => {
                        let slug = self.slug_of(catalog, image).ok_or_else(|| {
                            Fault::unsupported(format!(
                                "Target contract not found: no catalog has the image `{image}`."
                            ))
                        })?;
                        Ok(catalogs.find(catalog, &slug, version)?)
                    }
                }
            }
            (None, None, Some(generic)) => Ok(Found {
                catalog: generic::CATALOG.to_owned(),
                contract: generic
                    .contract()
                    .map_err(|error| Fault::functional(error.to_string()))?,
            }),
            _ => Err(Fault::functional(
                "Say what the connector is made from: `contract` (a slug), `image` (of a contract), or `generic` (an image or a command that \
                 is in no catalog); one of the three.",
            )),
        }
    }

    fn slug_of(&self, catalog: Option<&str>, image: &str) -> Option<String> {
        let all = self.state.services().catalogs.all();
        all.iter()
            .filter(|loaded| catalog.is_none_or(|wanted| loaded.content.id == wanted))
            .flat_map(|loaded| &loaded.content.contracts)
            .find(|listed| listed.about.image == image)
            .map(|listed| listed.about.slug.clone())
    }

    /// The contract that a managed connector is upgraded to.
    fn next_contract(&self, id: &str, version: Option<&str>) -> Result<Found, Fault> {
        let definition = self.read(|snapshot| {
            let connector = snapshot.connector(id)?;
            let managed = match &connector {
                Some(connector) => Managed::of(snapshot, connector)?,
                None => None,
            };
            Ok(managed.map(|managed| managed.definition))
        })?;
        let Some(definition) = definition else {
            return Err(Fault::functional(format!(
                "There is no managed connector {id}."
            )));
        };
        let contract = definition
            .contract()
            .map_err(|error| Fault::functional(error.to_string()))?;
        if definition.catalog == generic::CATALOG {
            return Err(Fault::functional(
                "The connector is in no catalog, so that there are no versions of it; deploy it anew with another image.",
            ));
        }
        let catalogs = &self.state.services().catalogs;
        Ok(catalogs.find(Some(&definition.catalog), &contract.slug, version)?)
    }
}

/// A contract of a catalog knows its keys; of a connector that is in none, nobody does.
fn extra_in(catalog: &str) -> Extra {
    if catalog == generic::CATALOG {
        Extra::Keep
    } else {
        Extra::Ignore
    }
}

/// What upstream's pages send for a change: everything that can be changed there.
fn edited(input: &Input<'_>, extra: Extra) -> Result<Change, Fault> {
    Ok(Change {
        name: Some(input.needed("name")?.to_owned()),
        title: Some(input.needed("title")?.to_owned()),
        user: Some(UserChoice::Existing(
            input.needed("connector_user_id")?.to_owned(),
        )),
        configuration: Some(Configuration {
            given: input.given("manager_contract_configuration"),
            replace: true,
            extra,
        }),
        ..Change::default()
    })
}

fn configured(input: &Input<'_>, extra: Extra) -> Result<Change, Fault> {
    let owned = |name: &str| input.text(name).map(str::to_owned);
    let configuration = input.get("configuration").map(|_| Configuration {
        given: input.given("configuration"),
        replace: false,
        extra: input.extra().unwrap_or(extra),
    });
    Ok(Change {
        name: owned("name"),
        title: owned("name"),
        user: owned("user_id").map(UserChoice::Existing),
        composer: owned("composer"),
        configuration,
        runtime: input.json("runtime")?,
        pinned: input.truth("pinned"),
        ..Change::default()
    })
}

/// A confidence as text.
fn level(text: &str) -> Result<u8, Fault> {
    text.trim()
        .parse()
        .ok()
        .filter(|level| *level <= 100)
        .ok_or_else(|| {
            Fault::functional(format!(
                "The confidence level {text} is no whole number from 0 to 100."
            ))
        })
}

/// What is wrong with some JSON, without the text that was found: it may be a secret in the wrong place.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once("string \"") {
        None => text,
        Some((before, rest)) => {
            let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
            format!("{before}string{after}")
        }
    }
}

/// The argument `input`; null counts as absent.
pub(super) struct Input<'a>(Option<&'a Map<String, Value>>);

impl<'a> Input<'a> {
    pub(super) fn of(call: &'a FieldCall<'_>) -> Self {
        Self(call.argument("input").and_then(Value::as_object))
    }

    pub(super) fn of_value(value: &'a Value) -> Self {
        Self(value.as_object())
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    pub(super) fn list(&self, name: &str) -> &'a [Value] {
        let list = self.get(name).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.list(name).iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// A text that must be there; upstream's inputs are nullable as a whole.
    pub(super) fn needed(&self, name: &str) -> Result<&'a str, Fault> {
        self.text(name)
            .ok_or_else(|| Fault::new(code::FUNCTIONAL, format!("The input must have `{name}`.")))
    }

    /// JSON, as a value or as text.
    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let read = match value {
            Value::String(text) => serde_json::from_str(text),
            other => T::deserialize(other),
        };
        read.map(Some).map_err(|error| {
            Fault::functional(format!(
                "{name} cannot be read: {}.",
                without_values(&error)
            ))
        })
    }

    /// Settings.
    fn given(&self, name: &str) -> Vec<Given> {
        let settings = self.list(name).iter();
        settings
            .map(|setting| {
                let setting = Input::of_value(setting);
                Given {
                    key: setting.text("key").unwrap_or_default().to_owned(),
                    value: setting.text("value").map(Into::into),
                }
            })
            .collect()
    }

    fn extra(&self) -> Option<Extra> {
        Some(match self.text("unknown_keys")? {
            "KEEP" => Extra::Keep,
            "REFUSE" => Extra::Refuse,
            _ => Extra::Ignore,
        })
    }
}
