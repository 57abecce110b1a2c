//! A platform of which it is not known yet what it speaks. It is asked when the composer registers, as often as that takes.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    Ferrocti, OpenCti, Platform, Registration, Reply, Report, Trouble, Work, ferrocti,
    http::{Access, Link, PlatformError, aside},
    opencti,
};
use crate::{ConnectorId, keys};

/// What a platform speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Ferrocti's own.
    Ferrocti,
    /// Upstream's.
    OpenCti,
}

/// A platform that is asked once what it speaks.
pub struct Found {
    link: Link,
    composer: String,
    place: Option<String>,
    chosen: Arc<OnceLock<(Protocol, Box<dyn Platform>)>>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("link", &self.link)
            .field("protocol", &self.protocol())
            .finish_non_exhaustive()
    }
}

impl Found {
    /// Prepares the way to a platform for the composer of this id; nobody is asked yet.
    ///
    /// # Errors
    /// The address, the proxy or the certificates cannot be used.
    pub fn open(access: &Access, composer: impl Into<String>) -> Result<Self, PlatformError> {
        Ok(Self {
            link: Link::open(access)?,
            composer: composer.into(),
            place: None,
            chosen: Arc::default(),
        })
    }

    /// Tells the platform which directory this composer works in, so that a copy of it is told from it.
    #[must_use]
    pub fn working_in(self, directory: &Path) -> Self {
        Self {
            place: keys::place(directory),
            ..self
        }
    }

    /// What it speaks; `None`: nobody has answered yet.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        self.chosen.get().map(|(protocol, _)| *protocol)
    }

    fn platform(&self) -> Result<&dyn Platform, Trouble> {
        match self.chosen.get() {
            Some((_, platform)) => Ok(&**platform),
            None => Err(Trouble::Unregistered(
                "the platform has not been asked yet what it speaks".to_owned(),
            )),
        }
    }

    async fn choose(&self) -> Result<(), Trouble> {
        if self.chosen.get().is_some() {
            return Ok(());
        }
        let link = self.link.clone();
        let protocol = aside(move || {
            if ferrocti::spoken(&link)? {
                return Ok(Protocol::Ferrocti);
            }
            opencti::spoken(&link)?;
            Ok(Protocol::OpenCti)
        });
        let protocol = protocol.await?;
        let (link, composer, place) =
            (self.link.clone(), self.composer.clone(), self.place.clone());
        let platform: Box<dyn Platform> = match protocol {
            Protocol::Ferrocti => Box::new(Ferrocti::over(link, composer, place)),
            Protocol::OpenCti => Box::new(OpenCti::over(link, composer)),
        };
        // somebody who was faster has found the same
        let _ = self.chosen.set((protocol, platform));
        Ok(())
    }
}

impl Platform for Found {
    fn register<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        Box::pin(async move {
            self.choose().await?;
            self.platform()?.register(composer).await
        })
    }

    fn alive<'a>(&'a self, composer: &'a Registration) -> Reply<'a, ()> {
        Box::pin(async move { self.platform()?.alive(composer).await })
    }

    fn work(&self) -> Reply<'_, Work> {
        Box::pin(async move { self.platform()?.work().await })
    }

    fn changed<'a>(&'a self, version: &'a str, wait: Duration) -> Reply<'a, bool> {
        Box::pin(async move { self.platform()?.changed(version, wait).await })
    }

    fn report<'a>(&'a self, report: &'a Report) -> Reply<'a, ()> {
        Box::pin(async move { self.platform()?.report(report).await })
    }

    fn gone<'a>(&'a self, connectors: &'a [ConnectorId]) -> Reply<'a, BTreeSet<ConnectorId>> {
        Box::pin(async move { self.platform()?.gone(connectors).await })
    }

    fn alive_every(&self) -> Duration {
        self.platform()
            .map_or(Duration::from_secs(60), Platform::alive_every)
    }
}
