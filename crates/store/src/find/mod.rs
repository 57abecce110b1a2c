//! Finding objects: conditions, full text, order and keyset paging, compiled into one SQL statement; visibility is part of it.

mod condition;
mod cursor;
mod gather;
mod lower;
mod plan;

pub use cursor::Cursor;
use ferrocti_model::filter::{AttributeKey, Expression};

use crate::{Iid, Visibility};

/// Which objects, in which order, how many.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectQuery {
    /// Type codes; empty: every type.
    pub types: Vec<u16>,
    /// What may be seen.
    pub visible: Visibility,
    /// Further condition, as a filter group means it.
    pub condition: Expression,
    /// Full text as a user types it.
    pub search: Option<String>,
    /// Order: key and whether descending; empty: by relevance when there is a search, else by creation. Missing values come last; ties are ordered by row number in the direction of the first key.
    pub order: Vec<(OrderKey, bool)>,
    /// Most rows to return.
    pub first: usize,
    /// Where to go on.
    pub after: Option<Cursor>,
    /// Whether to count all that match.
    pub with_total: bool,
}

impl ObjectQuery {
    /// Everything of these types that may be seen, `first` at a time, oldest first.
    #[must_use]
    pub fn new(types: Vec<u16>, visible: Visibility, first: usize) -> Self {
        Self {
            types,
            visible,
            condition: Expression::Always,
            search: None,
            order: Vec::new(),
            first,
            after: None,
            with_total: false,
        }
    }
}

/// What a list is ordered by.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderKey {
    /// Creation in the platform.
    Created,
    /// Last change in the platform.
    Updated,
    /// Sort name, see [`crate::NewObject::name`].
    Name,
    /// Confidence.
    Confidence,
    /// Type, by its name.
    Type,
    /// Relevance for the search, most relevant first; without a search the same as `Created`.
    Relevance,
    /// An attribute; of a list the first value.
    Attribute(AttributeKey),
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects in order.
    pub iids: Vec<Iid>,
    /// The cursor behind each object.
    pub cursors: Vec<Cursor>,
    /// Whether there are more.
    pub has_next: bool,
    /// How many match in all, when asked for.
    pub total: Option<u64>,
}

/// Numbers as the inside of an SQL list.
pub(crate) fn sql_list<N: std::fmt::Display>(numbers: &[N]) -> String {
    use std::fmt::Write as _;
    let mut list = String::with_capacity(numbers.len() * 4);
    for (index, number) in numbers.iter().enumerate() {
        let _ = write!(list, "{}{number}", if index == 0 { "" } else { "," });
    }
    list
}
