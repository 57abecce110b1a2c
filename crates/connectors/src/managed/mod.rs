//! Connectors that a composer runs for the platform: what they shall be, what is said of them, and what follows from both.
//!
//! What somebody wants is a [`Managed`] in the row of the connector and its [`Definition`] in a table of its own, with those before it. What a
//! composer says is a [`Reported`]. State and health are computed from both and from what the platform itself hears ([`state()`], [`health()`]).
//! Rules: `docs/development/composer.md`, section "The platform's side".

mod changes;
mod composers;
mod define;
mod deploy;
mod evidence;
mod health;
mod logs;
mod model;
mod report;
mod request;
mod state;
mod tokens;
mod versions;
mod view;
mod work;

pub use changes::is_managed;
pub(crate) use changes::{bury, is_down};
pub use composers::{NewComposer, composer_is_active};
pub use define::pending_upgrade;
pub use deploy::{Change, Configuration, Deploy, Outcome, UserChoice};
pub use evidence::{Evidence, evidence};
pub use health::{Health, HealthFacts, Level, cadence, health};
pub use logs::MAX_LOG_PAGE;
pub use model::{
    CurrentStatus, Definition, Managed, Reported, RequestedStatus, RolledBack, SealedToken, State,
};
pub use report::{ConnectorReport, HealthReport, Report};
pub use state::{Facts, Shown, state};
pub use versions::Version;
pub use view::View;
pub use work::{Assigned, Listed, Work};
