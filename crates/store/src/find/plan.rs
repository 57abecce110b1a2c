//! From a query to its SQL: where the rows come from, in which order, and where the page starts.
//!
//! Rows come from a small set of candidates when one of the conditions names one (a reference, a relationship, a name, the full text); otherwise
//! from the tree that has the wanted order, type by type, so that a page costs what it shows and not what there is.

use std::sync::Arc;

use ferrocti_model::{
    filter::{Expression, Side},
    id::Ident,
};
use rusqlite::{params_from_iter, types::Value as Sql};

use super::{
    ObjectQuery, OrderKey, Page,
    condition::{self, Condition, Field, Form, Sink, json_path},
    cursor::Cursor,
    lower::{NAME_ATTRIBUTES, field},
    sql_list,
};
use crate::{Iid, Snapshot, StoreError, Visibility, error::Result, search};

/// Candidates up to this number are looked at one by one; more, and the list is walked in its order instead.
const FEW: i64 = 3_000;
/// Matches of a search up to this number are ranked; of more, the newest come first.
const RANKED: i64 = 5_000;

/// Where rows come from.
enum Source {
    /// The objects themselves.
    Objects,
    /// The matches of a search, bound at this place.
    Text(String),
    /// A set of candidates: a statement that yields row numbers.
    Candidates(String),
}

impl Source {
    fn sql(&self) -> String {
        match self {
            Self::Objects => "object o".to_owned(),
            // type and marking set of the many matches come from an index that is a small part of the table
            Self::Text(_) => {
                "search s CROSS JOIN object o INDEXED BY object_narrow ON o.iid = s.rowid"
                    .to_owned()
            }
            Self::Candidates(sql) => {
                format!("(SELECT DISTINCT iid FROM ({sql})) d CROSS JOIN object o ON o.iid = d.iid")
            }
        }
    }

    /// The row number, in words that let the rows come in its order.
    fn iid(&self) -> &'static str {
        match self {
            Self::Text(_) => "s.rowid",
            Self::Objects | Self::Candidates(_) => "o.iid",
        }
    }

    fn condition(&self) -> Option<String> {
        match self {
            Self::Text(place) => Some(format!("s.search MATCH {place}")),
            Self::Objects | Self::Candidates(_) => None,
        }
    }
}

/// One part of the order.
#[derive(Clone)]
struct SortKey {
    sql: String,
    descending: bool,
    nullable: bool,
    /// The index that has this order within a type.
    index: Option<&'static str>,
}

impl SortKey {
    fn direction(&self) -> &'static str {
        if self.descending { "DESC" } else { "ASC" }
    }
}

struct Plan {
    source: Source,
    conditions: Vec<String>,
    types: Vec<u16>,
    /// Without the row number, which always ends it.
    keys: Vec<SortKey>,
    iid_descending: bool,
    sink: Sink,
    limit: usize,
}

impl Snapshot<'_> {
    /// One page of the objects that match.
    pub fn find(&self, query: &ObjectQuery) -> Result<Page> {
        let after = query.after.as_ref().map(Cursor::values).transpose()?;
        let Some(mut plan) = self.plan(query, after.as_deref())? else {
            return Ok(Page {
                iids: Vec::new(),
                cursors: Vec::new(),
                has_next: false,
                total: query.with_total.then_some(0),
            });
        };
        let total = if query.with_total {
            Some(self.total(query, &plan)?)
        } else {
            None
        };
        if after
            .as_ref()
            .is_some_and(|values| values.len() != plan.keys.len() + 1)
        {
            return Err(StoreError::BadCursor);
        }
        let mut rows = self.rows(&mut plan, after.as_deref())?;
        let has_next = rows.len() > query.first;
        rows.truncate(query.first);
        let cursors = rows.iter().map(|row| Cursor::of(row)).collect();
        let iids = rows
            .iter()
            .filter_map(|row| {
                if let Some(Sql::Integer(iid)) = row.last() {
                    Some(*iid)
                } else {
                    None
                }
            })
            .collect();
        Ok(Page {
            iids,
            cursors,
            has_next,
            total,
        })
    }

    /// How many objects match, whatever the page.
    pub fn count_matching(&self, query: &ObjectQuery) -> Result<u64> {
        match self.plan(query, None)? {
            Some(plan) => self.total(query, &plan),
            None => Ok(0),
        }
    }

    /// `None`: nothing can match.
    fn plan(&self, query: &ObjectQuery, after: Option<&[Sql]>) -> Result<Option<Plan>> {
        let mut sink = Sink::new(Vec::new());
        if let Visibility::Sets(sets) = &query.visible
            && self.hides_anything(&query.visible)?
        {
            sink.hide(Arc::clone(sets));
        }
        let mut parts = Vec::new();
        flatten(self.lower(&query.condition, &query.visible)?, &mut parts);
        let mut source = Source::Objects;
        let mut ranked = false;
        if let Some(text) = query
            .search
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            if let Some(iid) = self.named_by(text)? {
                parts.push(Condition::Ids(vec![iid]));
            } else {
                let Some(compiled) = search::compile(text) else {
                    return Ok(None);
                };
                let place = sink.bind(compiled);
                let matches = self.number(&format!("SELECT count(*) FROM (SELECT 1 FROM search WHERE search MATCH {place} LIMIT {})", RANKED + 1), &sink)?;
                if matches == 0 {
                    return Ok(None);
                }
                // a cursor without a rank was made when there were too many to rank
                ranked = matches <= RANKED && after.is_none_or(|values| values.len() > 1);
                source = Source::Text(place);
            }
        }
        if matches!(source, Source::Objects)
            && let Some((index, candidates)) = self.candidates(query, &parts, &mut sink)?
        {
            parts.remove(index);
            source = Source::Candidates(candidates);
        }

        let mut conditions: Vec<String> = source.condition().into_iter().collect();
        for part in &parts {
            conditions.push(format!("({})", sink.condition(part)?));
        }
        if conditions.len() > condition::FEW {
            conditions = vec![format!("({})", condition::balanced(&conditions, " AND "))];
        }
        conditions.extend(sink.visible("o"));
        let mut plan = Plan {
            source,
            conditions,
            types: query.types.clone(),
            keys: Vec::new(),
            iid_descending: false,
            sink,
            limit: query.first.saturating_add(1),
        };
        plan.order(query, ranked)?;
        Ok(Some(plan))
    }

    /// The object that a search names by an identifier.
    fn named_by(&self, text: &str) -> Result<Option<Iid>> {
        match Ident::parse(text) {
            Ok(ident) => self.resolve_one(&ident.key()),
            Err(_) => Ok(None),
        }
    }

    /// The smallest set of candidates that one of the conditions names, if it is small; with the place of the condition.
    fn candidates(
        &self,
        query: &ObjectQuery,
        parts: &[Condition],
        sink: &mut Sink,
    ) -> Result<Option<(usize, String)>> {
        let mut best: Option<(i64, usize, String)> = None;
        for (index, part) in parts.iter().enumerate() {
            let Some(sql) = self.candidates_of(query, part, sink)? else {
                continue;
            };
            let limit = best.as_ref().map_or(FEW + 1, |(size, ..)| *size);
            let size = self.number(
                &format!("SELECT count(*) FROM (SELECT 1 FROM ({sql}) LIMIT {limit})"),
                sink,
            )?;
            if size < limit {
                best = Some((size, index, sql));
            }
        }
        Ok(best.map(|(_, index, sql)| (index, sql)))
    }

    fn candidates_of(
        &self,
        query: &ObjectQuery,
        part: &Condition,
        sink: &mut Sink,
    ) -> Result<Option<String>> {
        Ok(Some(match part {
            Condition::Ids(iids) => {
                let list = sink.bind(format!("[{}]", sql_list(iids)));
                format!("SELECT value AS iid FROM json_each({list})")
            }
            Condition::Refers(reference, Some(targets)) => {
                format!(
                    "SELECT src AS iid FROM edge WHERE {} AND ref = {reference}",
                    sink.among_ids("dst", targets)
                )
            }
            Condition::ReferredBy(reference, Some(sources)) => {
                format!(
                    "SELECT dst AS iid FROM edge WHERE {} AND ref = {reference}",
                    sink.among_ids("src", sources)
                )
            }
            Condition::Related(types, Some(others), side) => {
                let mut branch = |own: &str, other: &str| {
                    let mut sql = format!(
                        "SELECT {own} AS iid FROM object WHERE {}",
                        sink.among_ids(other, others)
                    );
                    if !types.is_empty() {
                        sql = format!("{sql} AND {}", sink.among("type", types));
                    }
                    sql + &sink.seen("object")
                };
                match side {
                    Side::Source => branch("src", "dst"),
                    Side::Target => branch("dst", "src"),
                    Side::Both => format!(
                        "{} UNION ALL {}",
                        branch("src", "dst"),
                        branch("dst", "src")
                    ),
                }
            }
            Condition::Ends(side, iids) => {
                let mut branch = |end: &str| {
                    format!("SELECT iid FROM object WHERE {}", sink.among_ids(end, iids))
                };
                match side {
                    Side::Source => branch("src"),
                    Side::Target => branch("dst"),
                    Side::Both => format!("{} UNION ALL {}", branch("src"), branch("dst")),
                }
            }
            Condition::Names(names) => {
                let types = if query.types.is_empty() {
                    self.used_types()?
                } else {
                    query.types.clone()
                };
                format!(
                    "SELECT iid FROM object WHERE {} AND {}",
                    sink.among("type", &types),
                    sink.among_texts("name_key", names)
                )
            }
            _ => return Ok(None),
        }))
    }

    /// Whether there is an object now that must not be seen.
    fn hides_anything(&self, visible: &Visibility) -> Result<bool> {
        let seen: u64 = self.counts(visible)?.values().sum();
        let all: u64 = self.counts(&Visibility::All)?.values().sum();
        Ok(seen != all)
    }

    fn used_types(&self) -> Result<Vec<u16>> {
        let mut types: Vec<u16> = self.counts(&Visibility::All)?.into_keys().collect();
        types.sort_unstable();
        Ok(types)
    }

    fn number(&self, sql: &str, sink: &Sink) -> Result<i64> {
        sink.check()?;
        let mut statement = self.sql(sql)?;
        let parameters = statement.parameter_count();
        Ok(statement.query_row(
            params_from_iter(sink.parameters.iter().take(parameters)),
            |row| row.get(0),
        )?)
    }

    fn total(&self, query: &ObjectQuery, plan: &Plan) -> Result<u64> {
        let plain = matches!(plan.source, Source::Objects) && query.condition == Expression::Always;
        if plain {
            let counts = self.counts(&query.visible)?;
            return Ok(counts
                .iter()
                .filter(|(code, _)| query.types.is_empty() || query.types.contains(code))
                .map(|(_, n)| n)
                .sum());
        }
        let mut sink = plan.sink.clone();
        let mut conditions = plan.conditions.clone();
        if !plan.types.is_empty() {
            let column = if matches!(plan.source, Source::Objects) {
                "o.type"
            } else {
                "+o.type"
            };
            conditions.push(sink.among(column, &plan.types));
        }
        let sql = match (&plan.source, conditions.as_slice()) {
            (Source::Text(place), [_]) => {
                format!("SELECT count(*) FROM search WHERE search MATCH {place}")
            }
            (source, []) => format!("SELECT count(*) FROM {}", source.sql()),
            (source, conditions) => format!(
                "SELECT count(*) FROM {} WHERE {}",
                source.sql(),
                conditions.join(" AND ")
            ),
        };
        Ok(self.number(&sql, &sink)?.unsigned_abs())
    }

    /// The rows of the page and one more: sort values, then row number.
    fn rows(&self, plan: &mut Plan, after: Option<&[Sql]>) -> Result<Vec<Vec<Sql>>> {
        let split = plan.keys.first().is_some_and(|key| key.nullable);
        if !split {
            let sql = self.page_sql(plan, after, None)?;
            return self.fetch(&sql, plan);
        }
        // missing values come last, and no index has them: they are a list of their own behind the others
        let mut rows = Vec::new();
        if !matches!(after, Some([Sql::Null, ..])) {
            let sql = self.page_sql(plan, after, Some(true))?;
            rows = self.fetch(&sql, plan)?;
        }
        if rows.len() < plan.limit {
            let after = after.filter(|values| matches!(values, [Sql::Null, ..]));
            plan.limit -= rows.len();
            let sql = self.page_sql(plan, after, Some(false))?;
            rows.extend(self.fetch(&sql, plan)?);
        }
        Ok(rows)
    }

    fn fetch(&self, sql: &str, plan: &Plan) -> Result<Vec<Vec<Sql>>> {
        plan.sink.check()?;
        let mut statement = self.sql(sql)?;
        let columns = statement.column_count();
        let parameters = statement.parameter_count();
        let mut rows = statement.query(params_from_iter(
            plan.sink.parameters.iter().take(parameters),
        ))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(
                (0..columns)
                    .map(|column| row.get(column))
                    .collect::<rusqlite::Result<Vec<Sql>>>()?,
            );
        }
        Ok(out)
    }

    /// The statement of a page. `present`: only rows with (`true`) or without (`false`) the first sort value.
    fn page_sql(
        &self,
        plan: &mut Plan,
        after: Option<&[Sql]>,
        present: Option<bool>,
    ) -> Result<String> {
        let mut conditions = plan.conditions.clone();
        let mut keys = plan.keys.clone();
        let columns: String = plan
            .keys
            .iter()
            .enumerate()
            .map(|(place, key)| format!("{} AS k{place}, ", key.sql))
            .collect();
        let mut values = after.map(<[Sql]>::to_vec);
        match (present, plan.keys.first()) {
            (Some(true), Some(key)) => {
                conditions.push(format!("{} IS NOT NULL", key.sql));
                keys[0].nullable = false;
            }
            (Some(false), Some(key)) => {
                conditions.push(format!("{} IS NULL", key.sql));
                keys.remove(0);
                values = values.map(|values| values[1..].to_vec());
            }
            _ => {}
        }
        if let Some(values) = &values {
            conditions.push(plan.keyset(&keys, values));
        }
        let order_of = |name: &dyn Fn(usize) -> String, iid: &str| {
            let skipped = plan.keys.len() - keys.len();
            let mut parts: Vec<String> = Vec::new();
            for (place, key) in keys.iter().enumerate() {
                let name = name(place + skipped);
                if key.nullable {
                    parts.push(format!("({name} IS NULL)"));
                }
                parts.push(format!("{name} {}", key.direction()));
            }
            parts.push(format!(
                "{iid} {}",
                if plan.iid_descending { "DESC" } else { "ASC" }
            ));
            parts.join(", ")
        };
        let inner_order = order_of(&|place| plan.keys[place].sql.clone(), plan.source.iid());
        let outer_order = order_of(&|place| format!("k{place}"), "iid");

        let index = match (keys.first(), &plan.source) {
            (_, Source::Text(_) | Source::Candidates(_)) => None,
            (None, Source::Objects) => Some("object_type"),
            (Some(key), Source::Objects) => key.index,
        };
        let limit = plan.limit;
        let branch = |from: &str, type_condition: Option<String>| {
            let all: Vec<&str> = type_condition
                .iter()
                .map(String::as_str)
                .chain(conditions.iter().map(String::as_str))
                .collect();
            let filter = if all.is_empty() {
                String::new()
            } else {
                format!(" WHERE {}", all.join(" AND "))
            };
            format!(
                "SELECT {columns}o.iid AS iid FROM {from}{filter} ORDER BY {inner_order} LIMIT {limit}"
            )
        };
        let from = plan.source.sql();
        let Some(index) = index else {
            let types = (!plan.types.is_empty()).then(|| plan.sink.among("+o.type", &plan.types));
            return Ok(branch(&from, types));
        };
        if index == "object_type" && (plan.types.is_empty() || self.is_large_part(&plan.types)?) {
            let types = (!plan.types.is_empty()).then(|| plan.sink.among("+o.type", &plan.types));
            return Ok(branch("object o NOT INDEXED", types));
        }
        let used = self.used_types()?;
        let types: Vec<u16> = if plan.types.is_empty() {
            used
        } else {
            used.into_iter()
                .filter(|code| plan.types.contains(code))
                .collect()
        };
        let from = format!("object o INDEXED BY {index}");
        let branches: Vec<String> = types
            .iter()
            .map(|code| branch(&from, Some(format!("o.type = {code}"))))
            .collect();
        Ok(match branches.as_slice() {
            [] => branch("object o", Some("0".to_owned())),
            [one] => one.clone(),
            many => {
                let all: Vec<String> = many
                    .iter()
                    .map(|sql| format!("SELECT * FROM ({sql})"))
                    .collect();
                format!(
                    "SELECT * FROM ({}) ORDER BY {outer_order} LIMIT {limit}",
                    all.join(" UNION ALL ")
                )
            }
        })
    }

    /// Whether these types are so many of all objects that walking all in order is cheaper than walking type by type.
    fn is_large_part(&self, types: &[u16]) -> Result<bool> {
        if types.len() <= 1 {
            return Ok(false);
        }
        let counts = self.counts(&Visibility::All)?;
        let all: u64 = counts.values().sum();
        let part: u64 = types.iter().filter_map(|code| counts.get(code)).sum();
        Ok(part.saturating_mul(4) >= all)
    }
}

impl Plan {
    fn order(&mut self, query: &ObjectQuery, ranked: bool) -> Result<()> {
        let searched = matches!(self.source, Source::Text(_));
        let default = [(OrderKey::Relevance, false)];
        let order = if query.order.is_empty() {
            default.as_slice()
        } else {
            query.order.as_slice()
        };
        for (key, descending) in order {
            let (sql, nullable, index) = match key {
                OrderKey::Created => {
                    // row numbers are in order of creation, and unique
                    self.iid_descending = *descending;
                    return Ok(());
                }
                OrderKey::Relevance if ranked && searched => ("s.rank".to_owned(), false, None),
                OrderKey::Relevance => {
                    self.iid_descending = searched;
                    return Ok(());
                }
                OrderKey::Updated => ("o.updated_at".to_owned(), false, Some("object_updated")),
                OrderKey::Name => ("o.name_key".to_owned(), true, Some("object_name")),
                OrderKey::Confidence => ("o.confidence".to_owned(), true, None),
                OrderKey::Type => ("type_name(o.type)".to_owned(), false, None),
                OrderKey::Attribute(key) => match field(key) {
                    Field::CreatedAt => {
                        self.iid_descending = *descending;
                        return Ok(());
                    }
                    Field::UpdatedAt => ("o.updated_at".to_owned(), false, Some("object_updated")),
                    Field::Confidence => ("o.confidence".to_owned(), true, None),
                    Field::Attribute {
                        name, inner: None, ..
                    } if NAME_ATTRIBUTES.contains(&name.as_str()) => {
                        ("o.name_key".to_owned(), true, Some("object_name"))
                    }
                    // in the words of the index
                    Field::Attribute {
                        name, inner: None, ..
                    } if name == "modified" => (
                        "json_extract(o.attributes, '$.modified')".to_owned(),
                        true,
                        Some("object_modified"),
                    ),
                    Field::Attribute {
                        name,
                        inner,
                        multiple,
                        form,
                    } => (
                        self.attribute(&name, inner.as_deref(), multiple, form)?,
                        true,
                        None,
                    ),
                },
            };
            if self.keys.is_empty() {
                // ties in the direction of the first key, in which the index has them
                self.iid_descending = *descending;
            }
            self.keys.push(SortKey {
                sql,
                descending: *descending,
                nullable,
                index,
            });
        }
        Ok(())
    }

    /// The value of an attribute to order by; of a list the first.
    fn attribute(
        &mut self,
        name: &str,
        inner: Option<&str>,
        multiple: bool,
        form: Form,
    ) -> Result<String> {
        let mut path = json_path(name, if multiple { None } else { inner })?;
        if multiple {
            path.push_str("[0]");
            if let Some(inner) = inner {
                path.push_str(&json_path(inner, None)?[1..]);
            }
        }
        let path = self.sink.bind(path);
        let value = format!("json_extract(o.attributes, {path})");
        Ok(if form == Form::Text {
            format!("fold({value})")
        } else {
            value
        })
    }

    /// What comes after these sort values and row number.
    fn keyset(&mut self, keys: &[SortKey], values: &[Sql]) -> String {
        let iid = match values.last() {
            Some(Sql::Integer(iid)) => *iid,
            _ => 0,
        };
        let iid = self.sink.bind(iid);
        let mut sql = format!(
            "{} {} {iid}",
            self.source.iid(),
            if self.iid_descending { "<" } else { ">" }
        );
        for (key, value) in keys.iter().zip(values).rev() {
            let expression = &key.sql;
            if *value == Sql::Null {
                sql = format!("{expression} IS NULL AND {sql}");
                continue;
            }
            let place = self.sink.bind(value.clone());
            let beyond = if key.descending { "<" } else { ">" };
            let missing = if key.nullable {
                format!(" OR {expression} IS NULL")
            } else {
                String::new()
            };
            sql = format!(
                "({expression} {beyond} {place}{missing} OR ({expression} = {place} AND {sql}))"
            );
        }
        // said once more for the index of the first key
        match (keys.first(), values.first()) {
            (Some(key), Some(value))
                if !key.nullable && key.index.is_some() && *value != Sql::Null =>
            {
                let place = self.sink.bind(value.clone());
                format!(
                    "{} {} {place} AND {sql}",
                    key.sql,
                    if key.descending { "<=" } else { ">=" }
                )
            }
            _ => sql,
        }
    }
}

/// The parts of nested conjunctions, one by one.
fn flatten(condition: Condition, parts: &mut Vec<Condition>) {
    match condition {
        Condition::Always => {}
        Condition::And(members) => members
            .into_iter()
            .for_each(|member| flatten(member, parts)),
        other => parts.push(other),
    }
}
