//! Whatever fails, in whatever order: never two instances, never a deletion without cause, and in the end what was asked for.

use std::collections::BTreeSet;

use ferrocti_composer::{
    Action, Evidence, Input, Instance, Listing, Memory, Phase, Place, Policy, Requested, Sight,
    Source, State, Wanted, decide,
};
use proptest::prelude::*;

use crate::decide::definition;

const CONNECTORS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Event {
    /// One round: decide and carry out; the first flag of each connector loses the deed, the second its answer.
    Round(Vec<(bool, bool)>),
    /// The listing of the next round misses some instances of a place.
    Blind(Place, u8),
    /// The platform's next answer misses some connectors.
    Short(u8),
    /// An instance ends.
    Die(usize),
    /// Somebody removes an instance by hand.
    Vanish(usize),
    /// Somebody starts nothing, but breaks an instance.
    Break(usize),
    /// A connector gets a new definition, which may run elsewhere.
    Redefine(usize, Place),
    /// A connector shall run, or not.
    Request(usize, bool),
    /// A connector is deleted.
    Bury(usize),
    /// Time passes, or the clock is set back.
    Clock(i64),
    /// The composer forgets everything.
    Forget,
    /// The platform hears from everything that runs.
    Hear,
    /// The platform goes away or comes back.
    Away(bool),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Processes), Just(Place::Containers)]
}

fn event() -> impl Strategy<Value = Event> {
    let flags = prop::collection::vec((prop::bool::weighted(0.2), prop::bool::weighted(0.2)), 3);
    prop_oneof![
        12 => flags.prop_map(Event::Round),
        2 => (place(), any::<u8>()).prop_map(|(place, mask)| Event::Blind(place, mask)),
        2 => any::<u8>().prop_map(Event::Short),
        2 => (0..6usize).prop_map(Event::Die),
        1 => (0..6usize).prop_map(Event::Vanish),
        1 => (0..6usize).prop_map(Event::Break),
        2 => (0..3usize, place()).prop_map(|(n, place)| Event::Redefine(n, place)),
        2 => (0..3usize, any::<bool>()).prop_map(|(n, on)| Event::Request(n, on)),
        1 => (0..3usize).prop_map(Event::Bury),
        4 => (0..400_000i64).prop_map(Event::Clock),
        1 => (-400_000..0i64).prop_map(Event::Clock),
        1 => Just(Event::Forget),
        2 => Just(Event::Hear),
        1 => any::<bool>().prop_map(Event::Away),
    ]
}

fn source(place: Place) -> Source {
    match place {
        Place::Processes => Source::Command {
            argv: vec!["/bin/true".to_owned()],
            directory: None,
            requirements: None,
        },
        Place::Containers => Source::Image {
            reference: "example/x:1".to_owned(),
            command: None,
        },
    }
}

struct World {
    wanted: Wanted,
    instances: Vec<Instance>,
    sight: Option<Sight>,
    memory: Memory,
    now: i64,
    blind: Option<(Place, u8)>,
    short: u8,
    revision: u32,
    ever_buried: BTreeSet<String>,
    ever_heard: BTreeSet<String>,
    set_back: bool,
}

impl World {
    fn new() -> Self {
        let definitions = CONNECTORS.iter().map(|id| definition(id, "0")).collect();
        Self {
            wanted: Wanted {
                definitions,
                tombstones: BTreeSet::new(),
            },
            instances: Vec::new(),
            sight: Some(Sight::default()),
            memory: Memory::default(),
            now: 1_000_000_000,
            blind: None,
            short: 0,
            revision: 0,
            ever_buried: BTreeSet::new(),
            ever_heard: BTreeSet::new(),
            set_back: false,
        }
    }

    fn place_of(&self, connector: &str) -> Place {
        let wanted = &self.wanted.definitions;
        let definition = wanted.iter().find(|d| d.connector == connector).unwrap();
        definition.source.place()
    }

    fn at(&mut self, n: usize) -> Option<&mut Instance> {
        let count = self.instances.len();
        (count > 0).then(|| &mut self.instances[n % count])
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Round(flags) => {
                self.round(&flags);
            }
            Event::Blind(place, mask) => self.blind = Some((place, mask)),
            Event::Short(mask) => self.short = mask,
            Event::Die(n) => {
                let now = self.now;
                if let Some(instance) = self.at(n).filter(|i| i.is_live()) {
                    instance.phase = Phase::Exited {
                        code: Some(0),
                        at: Some(now),
                    };
                }
            }
            Event::Vanish(n) => {
                if !self.instances.is_empty() {
                    self.instances.remove(n % self.instances.len());
                }
            }
            Event::Break(n) => {
                if let Some(instance) = self.at(n) {
                    instance.phase = Phase::Broken("broken by hand".to_owned());
                }
            }
            Event::Redefine(n, place) => {
                self.revision += 1;
                let revision = self.revision.to_string();
                if let Some(wanted) = self.wanted.definitions.get_mut(n) {
                    wanted.revision = revision;
                    wanted.source = source(place);
                }
            }
            Event::Request(n, on) => {
                if let Some(wanted) = self.wanted.definitions.get_mut(n) {
                    wanted.requested = if on {
                        Requested::Running
                    } else {
                        Requested::Stopped
                    };
                }
            }
            Event::Bury(n) => {
                if n < self.wanted.definitions.len() {
                    let gone = self.wanted.definitions.remove(n).connector;
                    self.wanted.tombstones.insert(gone.clone());
                    self.ever_buried.insert(gone);
                }
            }
            Event::Clock(by) => {
                self.now += by;
                self.set_back |= by < 0;
            }
            Event::Forget => self.memory = Memory::default(),
            Event::Hear => self.hear(),
            Event::Away(away) => {
                self.sight = (!away).then(|| Sight {
                    since: self.now,
                    ..Sight::default()
                });
            }
        }
    }

    fn hear(&mut self) {
        let now = self.now;
        let running: Vec<(String, String)> = self
            .instances
            .iter()
            .filter(|i| i.phase == Phase::Running)
            .map(|i| (i.connector.clone(), i.handle.clone()))
            .collect();
        if let Some(sight) = &mut self.sight {
            for (connector, handle) in running {
                self.ever_heard.insert(handle);
                sight.of.insert(
                    connector,
                    Evidence {
                        last_seen: Some(now),
                    },
                );
            }
        }
    }

    /// Decides, checks what must always hold, carries out. Whether anything was done, and the states.
    fn round(&mut self, flags: &[(bool, bool)]) -> (bool, Vec<(String, State)>) {
        let (blind, short) = (
            std::mem::take(&mut self.blind),
            std::mem::take(&mut self.short),
        );
        let mut listing = Listing {
            instances: self.instances.clone(),
            ..Listing::default()
        };
        if let Some((place, mask)) = blind {
            let why = "the engine answered half".to_owned();
            listing.incomplete.insert(place, why);
            let mut index = 0;
            listing.instances.retain(|instance| {
                index += 1;
                instance.place != place || mask & (1 << (index % 8)) == 0
            });
        }
        let mut wanted = self.wanted.clone();
        let mut index = 0;
        wanted.definitions.retain(|_| {
            index += 1;
            short & (1 << index) == 0
        });
        if let Some(sight) = &mut self.sight {
            sight.at = self.now;
        }
        let input = Input {
            wanted: &wanted,
            listing: &listing,
            sight: self.sight.as_ref(),
            approved: &BTreeSet::new(),
            policy: Policy::default(),
            now: self.now,
        };
        let (plan, memory) = decide(&input, &self.memory);
        assert_eq!(
            decide(&input, &self.memory),
            (plan.clone(), memory.clone()),
            "the same question has the same answer"
        );
        self.memory = memory;
        let mut acted = false;
        for (n, decision) in plan.decisions.iter().enumerate() {
            let Some(action) = &decision.action else {
                continue;
            };
            acted = true;
            self.check(action, &decision.connector, &listing);
            let (lost_deed, lost_answer) = flags.get(n).copied().unwrap_or_default();
            let mut outcome = Err("it failed".to_owned());
            if !lost_deed {
                self.carry_out(action, &decision.connector);
                if !lost_answer {
                    outcome = Ok(());
                }
            }
            let policy = Policy::default();
            self.memory
                .record(&decision.connector, action, outcome, &policy, self.now);
        }
        let states = plan.decisions.into_iter();
        (acted, states.map(|d| (d.connector, d.state)).collect())
    }

    fn check(&self, action: &Action, connector: &str, listing: &Listing) {
        match action {
            Action::Remove { handle } => {
                let gone = self.instances.iter().find(|i| i.handle == *handle).unwrap();
                let blind = listing.incomplete.contains_key(&gone.place);
                assert!(!blind, "deleted on an incomplete listing");
                assert!(!gone.is_live(), "removed while it lived");
                let buried = self.ever_buried.contains(connector);
                let broken = matches!(gone.phase, Phase::Broken(_));
                let others = self.instances.iter();
                let replaced = others
                    .filter(|i| i.connector == connector && i.handle != *handle)
                    // a clock that was set back may take an earlier ping for a later one
                    .any(|i| i.is_live() && (self.set_back || self.ever_heard.contains(&i.handle)));
                assert!(buried || broken || replaced, "deleted without cause");
            }
            Action::Start { .. } => {
                let alive = self.instances.iter();
                let alive = alive.filter(|i| i.connector == connector && i.is_live());
                assert_eq!(alive.count(), 0, "started beside another");
            }
            Action::Pull { .. } | Action::Create { .. } | Action::Stop { .. } => {}
        }
    }

    fn carry_out(&mut self, action: &Action, connector: &str) {
        let now = self.now;
        match action {
            Action::Pull { .. } => {}
            Action::Create { revision } => {
                let handle = format!("{connector}-{revision}");
                if self.instances.iter().all(|i| i.handle != handle) {
                    self.instances.push(Instance {
                        handle,
                        place: self.place_of(connector),
                        connector: connector.to_owned(),
                        revision: revision.clone(),
                        phase: Phase::Created,
                        started_at: None,
                        restarts: 0,
                        said: None,
                    });
                }
            }
            Action::Start { handle } | Action::Stop { handle } => {
                let starts = matches!(action, Action::Start { .. });
                let found = self.instances.iter_mut().find(|i| i.handle == *handle);
                if let Some(instance) = found.filter(|i| !matches!(i.phase, Phase::Broken(_))) {
                    if starts {
                        instance.phase = Phase::Running;
                        instance.started_at = Some(now);
                    } else {
                        instance.phase = Phase::Exited {
                            code: Some(137),
                            at: Some(now),
                        };
                    }
                }
            }
            Action::Remove { handle } => self.instances.retain(|i| i.handle != *handle),
        }
    }

    /// Nothing fails any more: time passes and the platform hears of what runs.
    fn calm_down(&mut self) -> Vec<(String, State)> {
        self.sight = Some(Sight {
            since: self.now,
            ..Sight::default()
        });
        let mut quiet = 0;
        for _ in 0..200 {
            let (acted, states) = self.round(&[]);
            self.hear();
            quiet = if acted { 0 } else { quiet + 1 };
            if quiet == 5 {
                return states;
            }
            self.now += if acted { 10 } else { 301_000 };
            self.hear();
        }
        panic!("it never comes to rest: {:?}", self.instances);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_faults_leave_one_instance_and_end_as_asked(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            for connector in CONNECTORS {
                let alive = world.instances.iter().filter(|i| i.connector == connector && i.is_live());
                prop_assert!(alive.count() <= 1);
            }
        }
        let states = world.calm_down();
        for wanted in &world.wanted.definitions {
            let state = states.iter().find(|(id, _)| *id == wanted.connector).unwrap().1;
            let alive: Vec<&Instance> = world
                .instances
                .iter()
                .filter(|i| i.connector == wanted.connector && i.is_live())
                .collect();
            match wanted.requested {
                Requested::Stopped => {
                    prop_assert_eq!(state, State::Stopped);
                    prop_assert!(alive.is_empty());
                }
                Requested::Running => {
                    prop_assert_eq!(alive.len(), 1);
                    if state == State::Running {
                        prop_assert_eq!(&alive[0].revision, &wanted.revision);
                    } else {
                        prop_assert_eq!(state, State::Degraded);
                        let rejected = &world.memory.connectors[&wanted.connector].rejected;
                        prop_assert_eq!(&rejected.as_ref().unwrap().0, &wanted.revision);
                    }
                }
            }
        }
        for buried in &world.wanted.tombstones {
            prop_assert!(world.instances.iter().all(|i| i.connector != *buried));
        }
    }
}
