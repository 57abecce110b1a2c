//! What the commands print: tables for people, JSON for programs.

use std::{
    fmt,
    io::{ErrorKind, Write},
};

use serde_json::Value;

use crate::cli::RemoteArgs;

/// Writes a line to the standard output. Whoever reads it may stop reading at any time, as `head` does; then there is nothing left to do.
fn write(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let written = out.write_fmt(line).and_then(|()| out.write_all(b"\n"));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("ferrocti: cannot write to the standard output: {error}");
            std::process::exit(1);
        }
    }
}

macro_rules! line {
    ($($argument:tt)*) => { write(format_args!($($argument)*)) };
}

/// Prints an answer: as JSON where that was asked for, else for people.
pub fn show(remote: &RemoteArgs, data: &Value, print: impl FnOnce(&Value)) {
    if remote.json {
        line!("{data}");
    } else {
        print(data);
    }
}

/// Prints a line.
pub fn say(text: impl fmt::Display) {
    line!("{text}");
}

/// The items of a list; nothing for anything else.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value in a cell: `-` for nothing. Control characters are replaced, since names and addresses may come from strangers and terminals obey some.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace(char::is_control, "\u{fffd}"),
        other => other.to_string(),
    }
}

/// The beginning of a text that is longer than a cell should be; `most` counts characters.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Yes or no in a cell.
pub fn yes(value: &Value) -> String {
    match value.as_bool() {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => "-".to_owned(),
    }
}

/// The nodes of a connection.
pub fn nodes(connection: &Value) -> impl Iterator<Item = &Value> {
    list(&connection["edges"]).map(|edge| &edge["node"])
}

/// The names of several things in one cell.
pub fn names<'v>(things: impl Iterator<Item = &'v Value>, key: &str) -> String {
    let names: Vec<String> = things.map(|thing| text(&thing[key])).collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    }
}

/// Prints pairs of a name and a value below each other.
pub fn facts(title: &str, pairs: &[(&str, String)]) {
    line!("{title}");
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        line!("  {name:width$}  {value}");
    }
}

/// A count in a cell.
pub fn number(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |number| format!("{number:.0}"))
}

/// A number of bytes in a cell.
pub fn size(value: &Value) -> String {
    let bytes = value.as_f64().unwrap_or(0.0);
    if bytes < 1e3 {
        format!("{bytes:.0} B")
    } else if bytes < 1e6 {
        format!("{:.1} kB", bytes / 1e3)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}

/// Prints rows under a title, columns as wide as they need; nothing but "none" for no rows.
pub fn table(title: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        line!("\n{title}: none");
        return;
    }
    line!("\n{title}");
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line!("  {}", padded.join("  ").trim_end());
    };
    line(&mut head.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_strangers_wrote_cannot_steer_the_terminal() {
        assert_eq!(text(&json!("a\u{1b}[31mb\n")), "a\u{fffd}[31mb\u{fffd}");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }

    #[test]
    fn nothing_is_a_dash() {
        assert_eq!(text(&Value::Null), "-");
        assert_eq!(yes(&Value::Null), "-");
        assert_eq!(names(std::iter::empty(), "name"), "-");
    }
}
