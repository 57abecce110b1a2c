//! Applying: from decoded objects to rows, in one transaction.
//!
//! [`deliveries`] applies a batch of messages, [`direct`] what somebody adds through the API; both go through [`engine::Engine`], whose methods are in
//! the files of their steps: `links` (resolve), `find` and `hashes` (what is it already), `create`, `update`, `combine` (several matches), `parked`.

pub mod audit;
mod combine;
mod create;
mod derived;
pub mod edit;
pub mod engine;
mod facts;
mod find;
mod fresh;
mod hashes;
mod input;
mod links;
mod object;
mod parked;
pub mod refused;
mod report;
pub(crate) mod skipped;
mod update;
mod waiting;
mod withheld;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use ferrocti_access::Actor;
use ferrocti_accounts::{Origin, Scope};
use ferrocti_model::{Element, bundle, stix::RefusalReason};
use ferrocti_store::{Iid, Snapshot, StoreError, Tx};
use serde_json::json;
use uuid::Uuid;

use self::{
    edit::EditError,
    engine::{Engine, Repeats, Source, Stop},
    report::Reports,
    skipped::Skipped,
    waiting::{Pending, PendingObject},
    withheld::{Told, Withheld},
};
pub use self::{
    input::Input,
    object::Applied,
    refused::{Refused, RefusedReason},
};
use crate::{
    actors::{self, Behalf},
    digest,
    message::Reason,
    metrics::BatchFigures,
    prepare::{Delivery, Item, Parcel},
    reader::PUSH_PREFIX,
    works::Failure,
};

/// Objects of one message that are put in order and applied together; more of them are dealt with in several rounds, so that a
/// huge bundle does not fill the memory.
const ROUND: usize = 20_000;

/// Applies a batch of messages: data, history, works and the marks of the queues.
///
/// Messages at or below the mark of their queue have been applied before and do nothing. What cannot be imported as a whole has been set aside
/// already; here its work hears of it.
pub(crate) fn deliveries(
    tx: &mut Tx<'_>,
    batch: &mut [Delivery],
    skipped: &mut Skipped,
    told: &mut HashSet<Sender>,
) -> Result<BatchFigures, StoreError> {
    let mut figures = BatchFigures::default();
    let mut marks: HashMap<Arc<str>, u64> = HashMap::new();
    let mut counts: HashMap<Arc<str>, i64> = HashMap::new();
    let mut sources = Sources::default();
    let mut reports = Reports::default();
    let mut engine = Engine::new(tx);
    engine.skipped = std::mem::take(skipped);
    for delivery in batch.iter_mut() {
        let mark = match marks.get(&delivery.queue) {
            Some(mark) => *mark,
            None => engine.tx.queue_mark(&delivery.queue)?.unsigned_abs(),
        };
        if delivery.seq <= mark {
            marks.insert(Arc::clone(&delivery.queue), mark);
            figures.repeated += 1;
            continue;
        }
        marks.insert(Arc::clone(&delivery.queue), delivery.seq);
        *counts.entry(Arc::clone(&delivery.queue)).or_default() += 1;
        match &mut delivery.parcel {
            Err(undeliverable) => {
                figures.dead_letters += 1;
                if let Some(work) = &undeliverable.work_id
                    && let Some(connector) = delivery.queue.strip_prefix(PUSH_PREFIX)
                    && sources.standing(engine.tx, &work.as_str().into(), connector)?
                        == Standing::Own
                {
                    report_dead(work, &undeliverable.reason, &mut reports);
                }
            }
            Ok(parcel) if parcel.gone => figures.repeated += 1,
            Ok(parcel) => {
                let standing = match &parcel.work {
                    Some(work) => sources.standing(engine.tx, work, &parcel.connector)?,
                    None => Standing::Own,
                };
                if standing == Standing::Foreign {
                    tracing::warn!(
                        connector = &*parcel.connector,
                        work = parcel.work.as_deref(),
                        "a message names a work of another connector; its objects are applied without it"
                    );
                    parcel.work = None;
                }
                if standing == Standing::Gone {
                    figures.dropped += 1;
                } else {
                    let (epoch, seq) = (delivery.epoch, delivery.seq);
                    if let Some(fenced) =
                        sources.fenced(engine.tx, &parcel.connector, epoch, seq)?
                    {
                        return Err(StoreError::BadFilter(fenced.to_string()));
                    }
                    let source = match sources.of(engine.tx, parcel, seq)? {
                        Ok(source) => source,
                        // the connector or its user has been deleted since the reader looked
                        Err(reason) => return Err(StoreError::BadFilter(reason.to_string())),
                    };
                    figures.messages += 1;
                    apply_parcel(&mut engine, parcel, &source, &mut reports)?;
                }
                if let Some(push) = parcel.push {
                    engine.tx.delete_push(push)?;
                }
            }
        }
    }
    reports.tally.parked += engine.park(&mut reports)?;
    *skipped = engine.skipped;
    let mut known = std::mem::take(told);
    sources.tell_ignored(tx, &mut known, &mut reports)?;
    *told = known;
    reports.write(tx)?;
    for (queue, mark) in &marks {
        tx.set_queue_mark(queue, i64::try_from(*mark).unwrap_or(i64::MAX))?;
        tx.count_messages(queue, counts.get(queue).copied().unwrap_or(0))?;
    }
    figures.objects = reports.tally;
    Ok(figures)
}

fn report_dead(work: &str, reason: &Reason, reports: &mut Reports) {
    let work: Arc<str> = work.into();
    reports.count(Some(&work), 0, 1);
    reports.failure(Some(&work), Failure::of_message(&reason.to_string()));
}

/// How the work that a message names stands to the connector that sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Own,
    /// It is another connector's, whose counts are none of this one's business.
    Foreign,
    /// It was deleted.
    Gone,
}

/// A connector, the user its message asks to run as, and who pushed it through the API.
pub(crate) type Sender = (Arc<str>, Option<Uuid>, Option<i64>);

fn sender(parcel: &Parcel) -> Sender {
    (
        Arc::clone(&parcel.connector),
        parcel.applicant,
        parcel.pusher,
    )
}

/// Senders that asked to run as somebody they may not speak for, of which the audit keeps a line each while the platform runs.
const MOST_TOLD: usize = 1_000;

/// Who the messages of a batch come from, looked up once.
#[derive(Default)]
pub(crate) struct Sources {
    behalves: HashMap<Sender, Result<Behalf, Reason>>,
    /// Senders whose applicant was ignored, with the works that hear of it.
    ignored: BTreeMap<Sender, Option<Arc<str>>>,
    /// The connectors of the works; `None`: there is no such work.
    works: HashMap<Arc<str>, Option<String>>,
    /// By connector and epoch, the number from which on its messages do not count.
    ends: HashMap<(Arc<str>, i64), Option<i64>>,
}

impl Sources {
    fn standing(
        &mut self,
        tx: &Tx<'_>,
        work: &Arc<str>,
        connector: &str,
    ) -> Result<Standing, StoreError> {
        if !self.works.contains_key(work) {
            let found = tx.work(work)?.map(|work| work.connector);
            self.works.insert(Arc::clone(work), found);
        }
        Ok(match self.works.get(work) {
            Some(Some(owner)) if owner == connector => Standing::Own,
            Some(Some(_)) => Standing::Foreign,
            _ => Standing::Gone,
        })
    }

    /// Why a message does not count: it was published as the connector after somebody else had taken over. The broker takes no such message; this is for the moment in
    /// which it was not told yet.
    pub(crate) fn fenced(
        &mut self,
        snapshot: &Snapshot<'_>,
        connector: &Arc<str>,
        epoch: Option<i64>,
        seq: u64,
    ) -> Result<Option<Reason>, StoreError> {
        let Some(epoch) = epoch else {
            return Ok(None);
        };
        let key = (Arc::clone(connector), epoch);
        let end = match self.ends.get(&key) {
            Some(end) => *end,
            None => {
                let end = snapshot.epoch_end(connector, epoch)?;
                self.ends.insert(key, end);
                end
            }
        };
        Ok(end
            .filter(|end| seq > end.unsigned_abs())
            .map(|_| Reason::Fenced(connector.to_string())))
    }

    fn of(
        &mut self,
        tx: &Tx<'_>,
        parcel: &Parcel,
        seq: u64,
    ) -> Result<Result<Source, Reason>, StoreError> {
        let behalf = self.behalf(tx, parcel)?;
        if behalf.as_ref().is_ok_and(|behalf| behalf.ignored.is_some()) {
            self.ignored
                .entry(sender(parcel))
                .or_insert_with(|| parcel.work.clone());
        }
        let epoch = match parcel.epoch {
            Some(epoch) => epoch,
            None => tx.lease(&parcel.connector)?.epoch,
        };
        let mut origin = json!({"connector": &*parcel.connector, "work": parcel.work.as_deref(), "message": seq, "epoch": epoch});
        if let Some(push) = parcel.push {
            origin["push"] = push.into();
        }
        Ok(behalf.map(|behalf| Source {
            rights: behalf.actor.fingerprint(),
            actor: behalf.actor,
            origin: Some(origin.to_string().into()),
            connector: Some(Arc::clone(&parcel.connector)),
            work: parcel.work.clone(),
        }))
    }
}

impl Sources {
    /// On whose behalf a message is applied, or why it is not.
    pub(crate) fn behalf(
        &mut self,
        snapshot: &Snapshot<'_>,
        parcel: &Parcel,
    ) -> Result<Result<Behalf, Reason>, StoreError> {
        let key = sender(parcel);
        if let Some(known) = self.behalves.get(&key) {
            return Ok(known.clone());
        }
        let behalf = actors::of_parcel(snapshot, parcel)?;
        self.behalves.insert(key, behalf.clone());
        Ok(behalf)
    }

    /// Tells the works, and once also the audit, which connectors asked to run as somebody they may not speak for.
    fn tell_ignored(
        &self,
        tx: &mut Tx<'_>,
        told: &mut HashSet<Sender>,
        reports: &mut Reports,
    ) -> Result<(), StoreError> {
        for (sender, work) in &self.ignored {
            let (Some(Ok(behalf)), Some(applicant)) = (self.behalves.get(sender), sender.1) else {
                continue;
            };
            let (connector, own) = (&sender.0, &behalf.actor);
            let message = format!(
                "connector {connector} asked to run as the user {applicant}, for whom {} may not speak; its messages ran as {}",
                own.name, own.name
            );
            tracing::warn!(connector = &**connector, %applicant, user = %own.user_id, "{message}");
            reports.note(work.as_deref(), message.clone());
            if told.len() >= MOST_TOLD || !told.insert(sender.clone()) {
                continue;
            }
            let data = json!({"connector": &**connector, "applicant": applicant});
            ferrocti_accounts::record_refusal(
                tx,
                Some(own.user_row),
                Origin::default(),
                Scope::Unauthorized,
                &message,
                Some(data),
            )?;
        }
        Ok(())
    }
}

/// Applies the objects of one message.
fn apply_parcel(
    engine: &mut Engine<'_, '_>,
    parcel: &mut Parcel,
    source: &Source,
    reports: &mut Reports,
) -> Result<(), StoreError> {
    let total = i64::try_from(parcel.items.len()).unwrap_or(i64::MAX);
    // one object was announced by who sent it, and so was everything pushed through the API
    let (expected, processed) = match parcel.push {
        Some(_) => (0, total),
        None if parcel.whole || parcel.single => (0, 1),
        None => (total, total),
    };
    reports.count(source.work.as_ref(), expected, processed);
    let mut items = std::mem::take(&mut parcel.items);
    let result = items
        .chunks_mut(ROUND)
        .try_for_each(|round| apply_round(engine, parcel, round, source, reports));
    parcel.items = items;
    result
}

fn apply_round(
    engine: &mut Engine<'_, '_>,
    parcel: &Parcel,
    items: &mut [Item],
    source: &Source,
    reports: &mut Reports,
) -> Result<(), StoreError> {
    let changed = changed_items(engine, items, source, reports)?;
    // decode what the reader did not, and refuse what cannot be decoded
    let mut ready = Vec::with_capacity(changed.len());
    let mut orders = Vec::new();
    for index in changed {
        let Some(item) = items.get_mut(index) else {
            continue;
        };
        let json = parcel.text.get(item.range.clone()).unwrap_or_default();
        let decoded = item
            .decoded
            .take()
            .unwrap_or_else(|| crate::prepare::decode(json));
        match decoded {
            Err(refusal) if refusal.reason.is_skip() => reports.tally.skipped += 1,
            Err(refusal) if matches!(refusal.reason, RefusalReason::Operation(_)) => {
                orders.push((item.range.clone(), refusal));
            }
            Err(refusal) => {
                let failure = Failure::of_object(
                    refusal.id.as_deref(),
                    refusal.name.as_deref(),
                    &refusal.reason.to_string(),
                    json,
                );
                reports.failure(source.work.as_deref(), failure);
            }
            Ok(decoded) if !wanted(&decoded, &parcel.entity_types) => reports.tally.skipped += 1,
            Ok(decoded) => ready.push((decoded, item.range.clone(), item.digest)),
        }
    }
    let heads: Vec<&Element> = ready
        .iter()
        .filter_map(|(decoded, ..)| Some(&decoded.elements.first()?.element))
        .collect();
    let order = if heads.len() == ready.len() && ready.len() > 1 {
        bundle::order(&heads)
    } else {
        (0..ready.len()).collect()
    };
    drop(heads);
    let mut ready: Vec<Option<_>> = ready.into_iter().map(Some).collect();
    for index in order {
        let Some((decoded, range, raw)) = ready.get_mut(index).and_then(Option::take) else {
            continue;
        };
        let outcome = match engine.object(*decoded, source, raw) {
            Ok(outcome) => outcome,
            Err(Stop::Store(error)) => return Err(error),
            Err(_) => continue,
        };
        reports.outcome(
            source.work.as_deref(),
            &outcome,
            parcel.text.get(range.clone()).unwrap_or_default(),
        );
        if !outcome.waits.is_empty() {
            engine.waiting.add(Pending::Object(PendingObject {
                text: Arc::clone(&parcel.text),
                range,
                digest: raw,
                missing: outcome.waits,
                source: source.clone(),
            }));
        }
        engine.drain(reports)?;
    }
    // what is to be deleted or merged may have come with the same bundle
    for (range, refusal) in orders {
        let json = parcel.text.get(range).unwrap_or_default();
        match engine.obey(json, source) {
            Ok(()) => reports.tally.updated += 1,
            Err(EditError::Store(error)) => return Err(error),
            Err(error) => {
                let (id, name) = (refusal.id.as_deref(), refusal.name.as_deref());
                let failure = Failure::of_object(id, name, &error.to_string(), json);
                reports.failure(source.work.as_deref(), failure);
            }
        }
        engine.drain(reports)?;
    }
    Ok(())
}

/// The items that are not known to be applied already, just so.
fn changed_items(
    engine: &mut Engine<'_, '_>,
    items: &[Item],
    source: &Source,
    reports: &mut Reports,
) -> Result<Vec<usize>, StoreError> {
    let mut changed = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let stored = match item.key {
            Some(key) => engine.resolve(key)?,
            None => None,
        };
        let repeats = match stored {
            Some(iid) => engine.repeats(iid, digest(item.digest, source.rights), source)?,
            None => Repeats::No,
        };
        if repeats == Repeats::No {
            changed.push(index);
            continue;
        }
        reports.tally.unchanged += 1;
        if let (Repeats::InPart, Some(iid)) = (repeats, stored) {
            let engine::Head { kind, standard } = engine.head(iid)?;
            let told = Told {
                standard,
                kind,
                name: None,
                actor: Arc::clone(&source.actor),
                withheld: Withheld::as_before(),
            };
            reports.partial(source.work.as_deref(), &told);
        }
    }
    Ok(changed)
}

/// Whether a message's restriction lets an object through. Marking definitions always pass.
fn wanted(ready: &crate::prepare::Ready, entity_types: &[String]) -> bool {
    let Some(kind) = ready.elements.first().map(Input::kind) else {
        return true;
    };
    if entity_types.is_empty() || kind.name == "Marking-Definition" {
        return true;
    }
    let name = kind.name.to_lowercase();
    entity_types.iter().any(|wanted| {
        *wanted == kind.stix_type
            || *wanted == name
            || (wanted == "observable" && kind.is_a("Stix-Cyber-Observable"))
            || (wanted == "class" && name == "sector")
    })
}

/// What became of something that was added through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upserted {
    /// Its row.
    pub iid: Iid,
    /// Whether it is new.
    pub created: bool,
    /// Whether it is new or was changed.
    pub changed: bool,
}

/// Applies elements that somebody adds directly, in the order given. An unknown end or marking refuses the element; another unknown reference waits.
pub(crate) fn direct(
    tx: &mut Tx<'_>,
    actor: &Arc<Actor>,
    elements: Vec<Element>,
) -> Result<Vec<Upserted>, Stop> {
    let source = Source {
        rights: actor.fingerprint(),
        actor: Arc::clone(actor),
        origin: None,
        connector: None,
        work: None,
    };
    let mut engine = Engine::new(tx);
    let mut reports = Reports::default();
    let mut upserted = Vec::with_capacity(elements.len());
    for element in elements {
        let mut outcome = object::Outcome::default();
        engine.entries(&element, &source, &mut outcome)?;
        let applied = match engine.element(Input::new(element), &source, None, &mut outcome.remarks)
        {
            Err(Stop::Waits(missing)) => {
                let first = missing.first().map(ToString::to_string).unwrap_or_default();
                return Err(Stop::Refused(RefusedReason::MissingReference(first)));
            }
            other => other?,
        };
        engine.drain(&mut reports)?;
        upserted.push(Upserted {
            iid: applied.iid(),
            created: matches!(applied, Applied::Created(_)),
            changed: !matches!(applied, Applied::Unchanged(_)),
        });
    }
    engine.park(&mut reports)?;
    reports.write(tx)?;
    Ok(upserted)
}
