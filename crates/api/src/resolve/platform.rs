//! The platform itself: version, a view of the whole, what waits.

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_model::{Key, Registry};
use ferrocti_store::{Visibility, Waiting, WorkQuery, WorkStatus};
use serde_json::{Value, json};

use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Parked things on a list when the client does not say.
const PARKED: usize = 100;

impl Resolution<'_> {
    pub(super) fn platform_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "about" => Ok(Resolved::Node(Node::Data(
                "AppInfo",
                json!({ "version": self.state.options().version }),
            ))),
            "parkedReferences" => self.parked(call),
            _ => self.status(),
        }
    }

    fn status(&self) -> Answer<'static> {
        let services = self.state.services();
        let registry = Registry::get();
        let counts = self.read(|snapshot| Ok(snapshot.counts(&self.visible())?))?;
        let (references, elements) = self.read(|snapshot| Ok(snapshot.parked_counts()?))?;
        let open = WorkQuery {
            statuses: vec![WorkStatus::Wait, WorkStatus::Progress],
            limit: 1,
            ..WorkQuery::default()
        };
        let (_, open_works) = self.read(|snapshot| Ok(snapshot.works(&open)?))?;
        let mut by_type: Vec<(&str, u64)> = counts
            .iter()
            .filter_map(|(code, count)| Some((registry.by_code(*code)?.name.as_str(), *count)))
            .collect();
        by_type.sort_unstable();
        let by_type: Vec<Value> = by_type
            .iter()
            .map(|(name, count)| json!({ "entity_type": name, "count": count }))
            .collect();
        let queues: Vec<Value> = services
            .queues
            .list()
            .iter()
            .map(|queue| json!({ "name": queue.name, "messages": queue.messages, "bytes": queue.bytes }))
            .collect();
        let data = json!({
            "version": self.state.options().version,
            "started_at": format_date(self.state.started_at()),
            "objects": counts.values().sum::<u64>(),
            "objects_by_type": by_type,
            "parked": references + elements,
            "dead_letters": services.queues.stats().dead_letters,
            "queues": queues,
            "open_works": open_works,
        });
        Ok(Resolved::Node(Node::Data("PlatformStatus", data)))
    }

    fn parked(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let limit = super::graph::first(call, PARKED)?;
        // What waits may carry any marking: only those who may see everything get the list.
        if self.visible() != Visibility::All {
            return Err(Fault::functional(
                "Parked references are shown to users only that may see all markings.",
            ));
        }
        let parked = self.read(|snapshot| Ok(snapshot.parked_list(None, 0, limit)?))?;
        let mut nodes = Vec::with_capacity(parked.len());
        for parked in parked {
            let (source, reference) = match &parked.waiting {
                Waiting::Reference { source, reference } => {
                    let source = self
                        .object(*source)?
                        .map(|stored| stored.standard.to_string());
                    (
                        source,
                        Registry::get()
                            .reference_by_code(*reference)
                            .map(|reference| reference.name.as_str()),
                    )
                }
                Waiting::Element(_) => (None, None),
            };
            let awaited: Vec<String> = parked
                .keys
                .iter()
                .filter_map(Key::ident)
                .map(|ident| ident.to_string())
                .collect();
            nodes.push(Node::Data(
                "ParkedReference",
                json!({ "awaited": awaited.join(", "), "reference": reference, "source": source, "created_at": format_date(parked.at) }),
            ));
        }
        Ok(Resolved::nodes(nodes))
    }
}
