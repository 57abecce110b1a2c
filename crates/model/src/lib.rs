//! What the platform knows about STIX 2.1 and OpenCTI's data model: entity types as data, identifiers, conversion, merging.

pub mod bundle;
pub mod clock;
pub mod derive;
pub mod element;
pub mod filter;
pub mod id;
pub mod ids;
pub mod input;
pub mod list;
pub mod merge;
pub mod pattern;
pub mod registry;
pub mod representative;
pub mod stix;

pub use element::Element;
pub use id::{Ident, Key, StixId};
pub use registry::{EntityType, Registry};
