//! The way to the platform: registers, says that the composer is there, and asks for the work whenever something may have changed.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use ferrocti_model::clock::{Clock, Entropy, Millis};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{EngineSettings, assemble::Assembler};
use crate::{
    Definition, keys,
    platform::{Platform, Registration, Trouble, Work},
};

/// How long the platform may let a question for changes wait.
const WAIT: Duration = Duration::from_secs(25);
/// The least time between two questions for the work: what changes at once is asked for at once.
const APART: Duration = Duration::from_millis(150);
/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait after a failure, and the wait after a refusal.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a key that cannot be used is looked at again.
const KEY_AGAIN: Duration = Duration::from_secs(30);

/// What there is to say of the platform.
pub(super) enum News {
    /// This composer was registered: the platform may know nothing of earlier reports.
    Registered,
    /// The work, as it was asked for at `begun`, with its definitions.
    Work {
        begun: Millis,
        work: Box<Work>,
        definitions: Vec<Definition>,
    },
    /// The platform cannot be asked.
    Away,
    /// Why this composer has no key; `None`: it has one.
    Key(Option<String>),
}

pub(super) struct Link {
    pub settings: Arc<EngineSettings>,
    pub platform: Arc<dyn Platform>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Somebody wants to know more than was answered last.
    pub refresh: Arc<Notify>,
    pub news: mpsc::Sender<News>,
}

type Waiting = Pin<Box<dyn Future<Output = Result<bool, Trouble>> + Send>>;

async fn answer(waiting: &mut Option<Waiting>) -> Result<bool, Trouble> {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

/// What is done when, and what is known.
struct Progress {
    assembler: Option<Assembler>,
    registration: Option<Registration>,
    registered: bool,
    alive_at: Instant,
    key_at: Instant,
    /// Nothing is asked before.
    not_before: Instant,
    failures: u32,
    /// The work is to be asked for.
    due: bool,
    asked_at: Option<Instant>,
    version: String,
}

impl Link {
    /// Runs until nobody listens any more.
    pub async fn run(self) {
        let now = Instant::now();
        let mut progress = Progress {
            assembler: Some(Assembler::new(self.settings.clone(), self.entropy.clone())),
            registration: None,
            registered: false,
            alive_at: now,
            key_at: now,
            not_before: now,
            failures: 0,
            due: true,
            asked_at: None,
            version: String::new(),
        };
        let mut waiting: Option<Waiting> = None;
        while !self.news.is_closed() {
            if progress.registration.is_none() && Instant::now() >= progress.key_at {
                self.take_key(&mut progress).await;
            }
            if Instant::now() >= progress.not_before {
                let outcome = self.ask(&mut progress).await;
                self.judge(outcome, &mut progress).await;
            }
            if progress.failures > 0 {
                waiting = None;
            } else if waiting.is_none() && !progress.due {
                let (platform, version) = (self.platform.clone(), progress.version.clone());
                waiting = Some(Box::pin(
                    async move { platform.changed(&version, WAIT).await },
                ));
            }
            tokio::select! {
                () = sleep_until(progress.next()) => {}
                () = self.refresh.notified() => progress.due = true,
                () = self.news.closed() => {}
                answer = answer(&mut waiting) => {
                    waiting = None;
                    match answer {
                        Ok(changed) => progress.due |= changed,
                        Err(trouble) => self.judge(Err(trouble), &mut progress).await,
                    }
                }
            }
        }
    }

    /// Whoever listens may have gone, which the loop finds out by itself.
    async fn tell(&self, news: News) {
        let _ = self.news.send(news).await;
    }

    /// Reads or makes the key, which takes seconds.
    async fn take_key(&self, progress: &mut Progress) {
        let (settings, entropy) = (self.settings.clone(), self.entropy.clone());
        let made = tokio::task::spawn_blocking(move || {
            let key = keys::key(&settings.directory, &*entropy).map_err(|e| e.to_string())?;
            let public = key.public().to_pem().map_err(|e| e.to_string())?;
            Ok((key, public))
        });
        let made = made.await.unwrap_or_else(|error| Err(error.to_string()));
        let trouble = made.as_ref().err().cloned();
        if let Some(trouble) = &trouble {
            tracing::error!(%trouble, "the composer has no key: nothing with a secret is deployed");
        }
        progress.key_at = Instant::now() + KEY_AGAIN;
        let (key, public) = made.map_or_else(|why| (Err(why), None), |(k, p)| (Ok(k), Some(p)));
        if let Some(assembler) = &mut progress.assembler {
            assembler.use_key(key);
        }
        progress.registration = public.map(|public_key| Registration {
            id: self.settings.id.clone(),
            name: self.settings.name.clone(),
            public_key,
            version: self.settings.version.clone(),
            orchestrators: self.settings.orchestrators.clone(),
        });
        progress.due = true;
        self.tell(News::Key(trouble)).await;
    }

    /// Asks and tells what is due.
    async fn ask(&self, progress: &mut Progress) -> Result<(), Trouble> {
        if let Some(registration) = &progress.registration {
            if !progress.registered {
                self.platform.register(registration).await?;
                tracing::info!(composer = registration.id, "registered with the platform");
                progress.registered = true;
                progress.alive_at = Instant::now() + self.platform.alive_every();
                self.tell(News::Registered).await;
            } else if Instant::now() >= progress.alive_at {
                progress.alive_at = Instant::now() + self.platform.alive_every();
                self.platform.alive(registration).await?;
            }
        }
        let early = |at: Instant| at.elapsed() < APART;
        if !progress.due || progress.asked_at.is_some_and(early) {
            return Ok(());
        }
        let begun = self.clock.now();
        progress.asked_at = Some(Instant::now());
        let work = self.platform.work().await?;
        let Some(mut assembler) = progress.assembler.take() else {
            return Ok(());
        };
        // opening secrets takes a processor for a while
        let done = tokio::task::spawn_blocking(move || {
            let definitions = assembler.assemble(&work.connectors);
            (assembler, work, definitions)
        });
        let (assembler, work, definitions) = match done.await {
            Ok(done) => done,
            Err(error) => {
                let fresh = Assembler::new(self.settings.clone(), self.entropy.clone());
                progress.assembler = Some(fresh);
                progress.registration = None;
                return Err(Trouble::Away(error.to_string()));
            }
        };
        progress.assembler = Some(assembler);
        progress.due = false;
        progress.version.clone_from(&work.version);
        self.tell(News::Work {
            begun,
            work: Box::new(work),
            definitions,
        })
        .await;
        Ok(())
    }

    async fn judge(&self, outcome: Result<(), Trouble>, progress: &mut Progress) {
        let Err(trouble) = outcome else {
            progress.failures = 0;
            return;
        };
        progress.due = true;
        progress.failures = progress.failures.saturating_add(1);
        let mut wait = FIRST_WAIT
            .saturating_mul(1 << (progress.failures - 1).min(10))
            .min(LONGEST_WAIT);
        match &trouble {
            // to be forgotten once is nothing; to be forgotten at once is
            Trouble::Unregistered(_) if progress.registered && progress.failures == 1 => {
                wait = Duration::ZERO;
            }
            Trouble::Refused(_) => wait = LONGEST_WAIT,
            Trouble::Unregistered(_) | Trouble::Away(_) => {}
        }
        if matches!(trouble, Trouble::Unregistered(_)) {
            progress.registered = false;
        }
        progress.not_before = Instant::now() + wait;
        if wait > Duration::ZERO {
            if progress.failures == 1 || matches!(trouble, Trouble::Refused(_)) {
                tracing::warn!(%trouble, "the platform cannot be asked; what runs goes on running");
            }
            self.tell(News::Away).await;
        }
    }
}

impl Progress {
    /// When there is something to do although nothing has happened.
    fn next(&self) -> Instant {
        let mut next = if self.registration.is_some() {
            self.alive_at
        } else {
            self.key_at
        };
        if self.due || !self.registered && self.registration.is_some() {
            let apart = self.asked_at.map_or_else(Instant::now, |at| at + APART);
            next = next.min(apart);
        }
        next.max(self.not_before)
    }
}
