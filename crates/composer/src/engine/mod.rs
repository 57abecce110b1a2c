//! The loop of the composer: what the platform wants and what is there go into [`decide`](crate::decide()), actions come out and are carried out, and the
//! platform is told what has become of it.
//!
//! Everything is driven by events: a change of the platform, a change of what is there, the end of an action, a time that a decision asked for.
//! Each event leads to one listing, which is asked for when the one before it has been answered, so that many events cost one listing.
//! Actions run side by side, one for each connector, and a connector is acted on again only when a listing that was begun after its last
//! action has shown what came of it.

mod act;
mod assemble;
mod chores;
mod link;
mod looking;
mod store;
mod telling;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ferrocti_catalog::environment::Proxy;
use ferrocti_model::clock::{Clock, Entropy, Millis};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::{
    link::{Link, News},
    looking::{Looking, Seen},
    telling::{Status, Telling},
};
use crate::{
    Action, ConnectorId, Decision, Definition, Evidence, Input, Listing, Memory, Orchestrator,
    Permits, Plan, Policy, Requested, Sight, State, Stats, Wanted, decide,
    platform::{Platform, Trouble, Work},
};

/// How often the clock is compared with the time that has passed.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// A clock that has moved by more than what has passed was set.
const CLOCK_SET: Millis = 2_000;
/// The least time between two questions for what the platform has seen lately.
const REFRESH_APART: Duration = Duration::from_secs(2);
/// The least and the longest time between the end of a listing and the next one.
const LIST_APART: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How long memory may be newer than its file.
const SAVE_WITHIN: Duration = Duration::from_secs(1);
/// How long the actions that are under way may take when the composer stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Who this composer is, and what it may do.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The version of this program.
    pub version: String,
    /// What connectors run on here, for the platform to show: `process`, `docker`; see [`crate::Routed::kinds`].
    pub orchestrators: Vec<String>,
    /// Its directory: `key.pem`, `memory.json`, `ca/`.
    pub directory: PathBuf,
    /// The binary that `@ferrocti` stands for.
    pub program: PathBuf,
    /// The address under which connectors reach the platform, as processes and in the host's network.
    pub connector_url: String,
    /// The same for containers in networks of their own; `Err`: they cannot reach it, and what to do about that.
    pub container_url: Result<String, String>,
    /// The way out of the network for connectors that have none of their own.
    pub proxy: Option<Proxy>,
    /// What it lets the platform do on its host.
    pub permits: Permits,
    /// The numbers of the decision.
    pub policy: Policy,
    /// The time that a connector has between the request to end and being killed.
    pub grace: Duration,
}

/// Runs connectors as a platform asks for them.
pub struct Engine {
    settings: Arc<EngineSettings>,
    platform: Arc<dyn Platform>,
    orchestrator: Arc<dyn Orchestrator>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What happens.
enum Event {
    Listed {
        number: u64,
        took: Duration,
        listing: Listing,
        words: BTreeMap<Run, Option<String>>,
    },
    Done {
        connector: ConnectorId,
        action: Action,
        outcome: Result<(), String>,
    },
    Sent(Result<(), Trouble>),
    Looked(Seen),
    Figured(Vec<(ConnectorId, Option<Stats>)>),
    Gone(Option<BTreeSet<ConnectorId>>),
    Saved(Memory, std::io::Result<()>),
}

/// One run of an instance.
type Run = (String, Option<Millis>);

impl Engine {
    /// Joins the parts; nothing is done yet.
    #[must_use]
    pub fn new(
        settings: EngineSettings,
        platform: Arc<dyn Platform>,
        orchestrator: Arc<dyn Orchestrator>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            settings: Arc::new(settings),
            platform,
            orchestrator,
            clock,
            entropy,
        }
    }

    /// Runs until `stop`. Connectors go on running; actions that are under way are given a moment to end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (events, mut happened) = mpsc::unbounded_channel();
        let (news, mut told) = mpsc::channel(4);
        let refresh = Arc::new(Notify::new());
        let link = Link {
            settings: self.settings.clone(),
            platform: self.platform.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy,
            refresh: refresh.clone(),
            news,
        };
        let mut changes = self.orchestrator.changes();
        let directory = self.settings.directory.clone();
        let memory = tokio::task::spawn_blocking(move || store::load(&directory));
        let memory = memory.await.unwrap_or_default();
        let now = Instant::now();
        let mut core = Core {
            clock_seen: (self.clock.now(), now),
            settings: self.settings,
            platform: self.platform,
            orchestrator: self.orchestrator,
            clock: self.clock,
            events,
            refresh,
            tasks: JoinSet::new(),
            work: None,
            sight: None,
            gone: BTreeSet::new(),
            gone_asked: None,
            empty_since: None,
            key_trouble: None,
            listing: None,
            listings: 0,
            listing_busy: false,
            list_at: now,
            dirty: true,
            words: BTreeMap::new(),
            saved: memory.clone(),
            memory,
            save_at: None,
            saving: false,
            busy: BTreeMap::new(),
            waiting: VecDeque::new(),
            finished: BTreeMap::new(),
            wake: None,
            refreshed_at: None,
            telling: Telling::default(),
            looking: Looking::default(),
            memories: BTreeMap::new(),
            figured: BTreeMap::new(),
        };
        core.tasks.spawn(link.run());
        tokio::pin!(stop);
        let mut stopping: Option<Instant> = None;
        let mut follow = true;
        loop {
            if let Some(end) = stopping {
                core.waiting.clear();
                if core.busy.is_empty() || Instant::now() >= end {
                    break;
                }
            } else {
                core.pump();
            }
            let timer = stopping.unwrap_or_else(|| core.next());
            tokio::select! {
                () = &mut stop, if stopping.is_none() => stopping = Some(Instant::now() + STOP_WITHIN),
                Some(event) = happened.recv() => core.on(event),
                Some(news) = told.recv() => core.hear(news),
                changed = changes.changed(), if follow => {
                    follow = changed.is_ok();
                    core.dirty = true;
                }
                () = sleep_until(timer) => {}
            }
        }
        core.tasks.shutdown().await;
        let (directory, memory) = (core.settings.directory.clone(), core.memory);
        let saved = tokio::task::spawn_blocking(move || store::save(&directory, &memory)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "the composer's memory was not saved");
        }
    }
}

/// What the platform wants, as it was answered last.
struct Held {
    wanted: Wanted,
    approved: BTreeSet<ConnectorId>,
    hashes: BTreeMap<ConnectorId, String>,
    cursors: BTreeMap<ConnectorId, String>,
}

/// Everything that the loop knows. Its methods start tasks and never wait.
struct Core {
    settings: Arc<EngineSettings>,
    platform: Arc<dyn Platform>,
    orchestrator: Arc<dyn Orchestrator>,
    clock: Arc<dyn Clock>,
    events: mpsc::UnboundedSender<Event>,
    refresh: Arc<Notify>,
    tasks: JoinSet<()>,

    work: Option<Held>,
    sight: Option<Sight>,
    /// Connectors that a platform without tombstones said not to exist.
    gone: BTreeSet<ConnectorId>,
    gone_asked: Option<Instant>,
    empty_since: Option<Instant>,
    key_trouble: Option<String>,

    listing: Option<(u64, Listing)>,
    /// Listings that were begun.
    listings: u64,
    listing_busy: bool,
    list_at: Instant,
    /// Something has happened since the last listing was begun.
    dirty: bool,
    /// What ended runs had written last.
    words: BTreeMap<Run, Option<String>>,

    memory: Memory,
    saved: Memory,
    save_at: Option<Instant>,
    saving: bool,
    /// The actions that are under way.
    busy: BTreeMap<ConnectorId, act::Busy>,
    /// What was decided last and waits for a place.
    waiting: VecDeque<act::Intent>,
    /// How many listings had been begun when the last action of a connector ended.
    finished: BTreeMap<ConnectorId, u64>,
    /// When a decision wants to be taken again.
    wake: Option<Millis>,
    refreshed_at: Option<Instant>,
    clock_seen: (Millis, Instant),

    telling: Telling,
    looking: Looking,
    /// The memory that instances were last seen to use.
    memories: BTreeMap<ConnectorId, u64>,
    /// The states and the numbers of ends with which figures were told last.
    figured: BTreeMap<ConnectorId, (State, u32)>,
}

impl Core {
    fn spawn(&mut self, task: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        self.tasks.spawn(async move {
            // whoever listens may have stopped
            let _ = events.send(task.await);
        });
        while self.tasks.try_join_next().is_some() {}
    }

    /// Starts everything that is due.
    fn pump(&mut self) {
        self.watch_clock();
        let now = Instant::now();
        if self.wake.is_some_and(|at| self.clock.now() >= at) {
            self.wake = None;
            self.dirty = true;
        }
        if self.dirty && !self.listing_busy && now >= self.list_at {
            self.list();
        }
        if self.save_at.is_some_and(|at| now >= at) && !self.saving {
            self.save();
        }
        if self.sight.is_some() {
            // what is due at once is due by a clock that is read later than `now`
            if self.telling.due().is_some_and(|at| Instant::now() >= at) {
                let (platform, report) = (self.platform.clone(), self.telling.take());
                self.spawn(async move { Event::Sent(platform.report(&report).await) });
            }
            if self.looking.due().is_some_and(|at| now >= at) {
                self.look();
            }
            self.ask_for_gone(now);
        }
    }

    /// When something is due next.
    fn next(&self) -> Instant {
        let now = Instant::now();
        let mut next = self.clock_seen.1 + CLOCK_EVERY;
        if self.dirty && !self.listing_busy {
            next = next.min(self.list_at);
        }
        if let Some(at) = self.wake {
            let wait = u64::try_from(at - self.clock.now()).unwrap_or_default();
            next = next.min(now + Duration::from_millis(wait));
        }
        if let Some(at) = self.save_at.filter(|_| !self.saving) {
            next = next.min(at);
        }
        if self.sight.is_some() {
            let due = self.telling.due().into_iter().chain(self.looking.due());
            next = due.fold(next, Instant::min);
        }
        next
    }

    /// A clock that was set says nothing of how long the platform has been silent.
    fn watch_clock(&mut self) {
        let (wall, passed) = (self.clock.now(), Instant::now());
        let (wall_before, passed_before) = self.clock_seen;
        let real = Millis::try_from((passed - passed_before).as_millis()).unwrap_or(Millis::MAX);
        let jump = (wall - wall_before).saturating_sub(real);
        if jump.abs() > CLOCK_SET {
            tracing::warn!(seconds = jump / 1000, "the clock was set");
            self.sight = None;
            self.dirty = true;
            self.refresh();
        }
        if jump.abs() > CLOCK_SET || passed - passed_before >= CLOCK_EVERY {
            self.clock_seen = (wall, passed);
        }
    }

    fn refresh(&mut self) {
        self.refreshed_at = Some(Instant::now());
        self.refresh.notify_one();
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Registered => self.telling.forget(),
            News::Key(trouble) => self.key_trouble = trouble,
            News::Away => self.sight = None,
            News::Work {
                begun,
                work,
                definitions,
            } => self.take_work(begun, *work, definitions),
        }
        self.dirty = true;
    }

    fn take_work(&mut self, begun: Millis, work: Work, definitions: Vec<Definition>) {
        self.waiting.clear();
        let since = self.sight.as_ref().map_or(begun, |sight| sight.since);
        let mut sight = Sight {
            at: begun,
            since,
            of: BTreeMap::new(),
        };
        let mut held = Held {
            wanted: Wanted {
                definitions,
                tombstones: work.tombstones,
            },
            approved: work.approved,
            hashes: BTreeMap::new(),
            cursors: BTreeMap::new(),
        };
        for assigned in work.connectors {
            // counted from when it was asked: a slow answer makes nobody look younger than they are
            let age = |ago: Duration| Millis::try_from(ago.as_millis()).unwrap_or(Millis::MAX);
            let last_seen = assigned.last_seen.map(|ago| begun.saturating_sub(age(ago)));
            sight.of.insert(assigned.id.clone(), Evidence { last_seen });
            if let Some(cursor) = assigned.log_cursor {
                held.cursors.insert(assigned.id.clone(), cursor);
            }
            held.hashes.insert(assigned.id, assigned.hash);
        }
        self.gone.retain(|id| !held.hashes.contains_key(id));
        self.finished.retain(|id, _| held.hashes.contains_key(id));
        self.empty_since = match (held.hashes.is_empty(), self.empty_since) {
            (false, _) => None,
            (true, since) => Some(since.unwrap_or_else(Instant::now)),
        };
        self.sight = Some(sight);
        self.work = Some(held);
    }

    /// Lists what is there, and reads the last words of what has ended since.
    fn list(&mut self) {
        self.dirty = false;
        self.listing_busy = true;
        self.listings += 1;
        let number = self.listings;
        let orchestrator = self.orchestrator.clone();
        let known: BTreeSet<Run> = self.words.keys().cloned().collect();
        let definitions = self.work.iter().flat_map(|held| &held.wanted.definitions);
        let running = definitions.filter(|d| d.requested == Requested::Running);
        let secrets: BTreeMap<ConnectorId, _> = running
            .map(|d| (d.connector.clone(), looking::secrets(d)))
            .collect();
        self.spawn(async move {
            let begun = Instant::now();
            let mut listing = act::list(&*orchestrator).await;
            let mut words = BTreeMap::new();
            for instance in &mut listing.instances {
                let run = (instance.handle.clone(), instance.started_at);
                let Some(secrets) = secrets.get(&instance.connector) else {
                    continue;
                };
                if act::ended(instance) && !known.contains(&run) {
                    let said = looking::last_words(&*orchestrator, &instance.handle, secrets);
                    words.insert(run, said.await);
                }
            }
            Event::Listed {
                number,
                took: begun.elapsed(),
                listing,
                words,
            }
        });
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Listed {
                number,
                took,
                mut listing,
                words,
            } => {
                self.listing_busy = false;
                self.list_at = Instant::now() + (took * 3).clamp(LIST_APART.0, LIST_APART.1);
                self.words.extend(words);
                for instance in &mut listing.instances {
                    let run = (instance.handle.clone(), instance.started_at);
                    instance.said = self.words.get(&run).cloned().flatten();
                }
                let there = &listing.instances;
                self.words.retain(|(handle, started), _| {
                    there
                        .iter()
                        .any(|i| i.handle == *handle && i.started_at == *started)
                });
                self.listing = Some((number, listing));
                self.decide();
            }
            Event::Done {
                connector,
                action,
                outcome,
            } => {
                let busy = self.busy.remove(&connector);
                if !busy.as_ref().is_some_and(|busy| busy.given_up) {
                    if let Err(why) = &outcome {
                        tracing::warn!(%connector, ?action, %why, "an action failed");
                    }
                    let (policy, now) = (self.settings.policy, self.clock.now());
                    self.memory
                        .record(&connector, &action, outcome, &policy, now);
                }
                self.finished.insert(connector, self.listings);
                if let Some(busy) = busy {
                    self.fill(busy.kind);
                }
                self.dirty = true;
            }
            Event::Sent(outcome) => {
                if let Err(trouble) = &outcome {
                    tracing::warn!(%trouble, "the platform was not told what has become of the connectors");
                }
                self.telling.sent(outcome.is_ok());
            }
            Event::Looked(seen) => self.looked(seen),
            Event::Figured(figures) => self.figured(figures),
            Event::Gone(answer) => {
                if let Some(gone) = answer.filter(|gone| !gone.is_empty()) {
                    tracing::info!(connectors = ?gone, "the platform says that these are deleted");
                    let hashes = self.work.as_ref().map(|held| &held.hashes);
                    let back = |id: &ConnectorId| hashes.is_some_and(|h| h.contains_key(id));
                    self.gone.extend(gone.into_iter().filter(|id| !back(id)));
                    self.dirty = true;
                }
            }
            Event::Saved(memory, outcome) => {
                self.saving = false;
                match outcome {
                    Ok(()) => self.saved = memory,
                    Err(error) => {
                        tracing::warn!(%error, "the composer's memory was not saved");
                        self.save_at = Some(Instant::now() + CLOCK_EVERY);
                    }
                }
            }
        }
    }

    /// Decides on the last listing, begins what is to be done, and takes note of what is to be told.
    fn decide(&mut self) {
        if self.listing.is_none() || self.work.is_none() {
            return;
        }
        let (Some((number, listing)), Some(held)) = (self.listing.take(), self.work.take()) else {
            return;
        };
        let now = self.clock.now();
        let mut wanted = held.wanted;
        let tombstones = wanted.tombstones.clone();
        wanted.tombstones.extend(self.gone.iter().cloned());
        let input = Input {
            wanted: &wanted,
            listing: &listing,
            sight: self.sight.as_ref(),
            approved: &held.approved,
            policy: self.settings.policy,
            now,
        };
        let (plan, memory) = decide(&input, &self.memory);
        self.memory = memory;
        if self.memory != self.saved && self.save_at.is_none() {
            self.save_at = Some(Instant::now() + SAVE_WITHIN);
        }
        let definitions: BTreeMap<&str, &Definition> = wanted
            .definitions
            .iter()
            .map(|definition| (definition.connector.as_str(), definition))
            .collect();
        self.waiting.clear();
        for decision in &plan.decisions {
            self.act(
                decision,
                definitions.get(decision.connector.as_str()),
                number,
            );
        }
        self.tell(&plan, &held.hashes, &definitions, &listing, &tombstones);
        self.wake(&plan, now);
        let there = definitions.keys().filter_map(|id| {
            let of = listing.instances.iter().filter(|i| i.connector == *id);
            Some((*id, looking::current(of)?))
        });
        self.looking.note(there, |id| held.cursors.get(id).cloned());
        wanted.tombstones = tombstones;
        self.work = Some(Held { wanted, ..held });
        self.listing = Some((number, listing));
    }

    /// When to decide again. A time that has passed waits for what the platform has seen since.
    fn wake(&mut self, plan: &Plan, now: Millis) {
        let times = || {
            plan.decisions
                .iter()
                .filter_map(|decision| decision.again_at)
        };
        self.wake = times().filter(|at| *at > now).min();
        if times().any(|at| at <= now) {
            let recent = |at: Instant| at.elapsed() < REFRESH_APART;
            if !self.refreshed_at.is_some_and(recent) {
                self.refresh();
            }
            let soon = now + 2 * Millis::try_from(REFRESH_APART.as_millis()).unwrap_or(2_000);
            self.wake = Some(self.wake.map_or(soon, |at| at.min(soon)));
        }
    }

    fn tell(
        &mut self,
        plan: &Plan,
        hashes: &BTreeMap<ConnectorId, String>,
        definitions: &BTreeMap<&str, &Definition>,
        listing: &Listing,
        tombstones: &BTreeSet<ConnectorId>,
    ) {
        let mut states = BTreeMap::new();
        let mut changed = Vec::new();
        for decision in &plan.decisions {
            let id = decision.connector.as_str();
            let (Some(hash), Some(definition)) = (hashes.get(id), definitions.get(id)) else {
                continue;
            };
            let track = self.memory.connectors.get(id);
            let figures = (decision.state, track.map_or(0, |track| track.ends));
            if self.figured.insert(decision.connector.clone(), figures) != Some(figures) {
                changed.push(decision.connector.clone());
            }
            let rejected = track.and_then(|track| track.rejected.as_ref());
            let rejected = rejected.filter(|(revision, _)| *revision == definition.revision);
            let status = Status {
                hash: hash.clone(),
                state: decision.state,
                reason: decision.reason.clone(),
                current: decision.current,
                rejected: rejected.map(|_| hash.clone()),
            };
            self.note_state(decision, definition);
            states.insert(decision.connector.clone(), status);
        }
        self.figured.retain(|id, _| states.contains_key(id));
        self.telling.states(states);
        for id in changed {
            // how often it has ended belongs to what it has come to
            if let Some(health) = self.health(&id, listing) {
                self.telling.health(&id, health);
            }
        }
        let trouble = self.key_trouble.iter().chain(&plan.refusal);
        let trouble: Vec<&str> = trouble.map(String::as_str).collect();
        let blocked = (!trouble.is_empty()).then(|| trouble.join("; "));
        self.telling.common(plan.held.clone(), blocked);
        let left = |id: &&ConnectorId| {
            listing.instances.iter().any(|i| i.connector == **id)
                || self.busy.contains_key(*id)
                || listing.incomplete.keys().any(|place| {
                    let track = self.memory.connectors.get(*id);
                    !self.memory.known.contains(place)
                        || track.is_some_and(|track| track.places.contains(place))
                })
        };
        let removed = tombstones.iter().filter(|id| !hashes.contains_key(*id));
        let removed = removed.filter(|id| !left(id)).cloned().collect();
        self.telling.removed(removed);
    }

    /// A line of the composer's own log for each state that a connector comes into.
    fn note_state(&self, decision: &Decision, definition: &Definition) {
        let before = self.telling.state(&decision.connector);
        if before == Some(decision.state) {
            return;
        }
        let (connector, name) = (&decision.connector, &definition.name);
        let (state, reason) = (decision.state, &decision.reason);
        match state {
            State::Failed | State::CrashLooping | State::Degraded => {
                tracing::warn!(connector, name, %state, reason, "connector");
            }
            _ => tracing::info!(connector, name, %state, reason, "connector"),
        }
    }
}
