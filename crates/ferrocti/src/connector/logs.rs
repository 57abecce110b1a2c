//! `ferrocti connector logs`: the last lines, and those that come.

use std::{thread, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::find;
use crate::{
    cli::LogsArgs,
    client::Client,
    print::{list, say, text},
};

const LOGS: &str = "query Logs($id: String!, $search: String, $first: Int, $before: Float) { connectorLogs(id: $id, search: $search, first: $first, before: $before) { lines { seq at text } before } }";

/// How often new lines are asked for.
const EVERY: Duration = Duration::from_secs(1);
/// Lines of one answer while following.
const PAGE: u32 = 200;
/// How many pages are asked for at most to catch up; the platform keeps no more lines than they hold.
const PAGES: usize = 20;

/// `ferrocti connector logs`
pub fn run(args: &LogsArgs) -> Result<()> {
    let client = Client::new(&args.remote)?;
    let id = find(&client, &args.connector)?;
    let page = |first: u32, before: Option<f64>| {
        let variables =
            json!({ "id": id, "search": args.search, "first": first, "before": before });
        Ok::<_, anyhow::Error>(client.call(LOGS, variables)?["connectorLogs"].take())
    };
    let first = page(args.lines, None)?;
    if args.remote.json && !args.follow {
        say(json!({ "connectorLogs": first }));
        return Ok(());
    }
    let print = |line: &Value| {
        if args.remote.json {
            say(line);
        } else {
            say(format_args!(
                "{}  {}",
                text(&line["at"]),
                text(&line["text"])
            ));
        }
    };
    list(&first["lines"]).for_each(print);
    let mut last = newest(&first, f64::NEG_INFINITY);
    if !args.follow {
        return Ok(());
    }
    loop {
        thread::sleep(EVERY);
        let fresh = since(last, |before| page(PAGE, before))?;
        fresh.iter().for_each(print);
        last = fresh.iter().fold(last, |last, line| {
            last.max(line["seq"].as_f64().unwrap_or(last))
        });
    }
}

fn newest(page: &Value, otherwise: f64) -> f64 {
    list(&page["lines"])
        .filter_map(|line| line["seq"].as_f64())
        .fold(otherwise, f64::max)
}

/// The lines after a number, in their order, from as many pages as it takes.
fn since(last: f64, mut page: impl FnMut(Option<f64>) -> Result<Value>) -> Result<Vec<Value>> {
    let mut fresh: Vec<Value> = Vec::new();
    let mut before = None;
    for _ in 0..PAGES {
        let answer = page(before)?;
        let lines: Vec<Value> = list(&answer["lines"]).cloned().collect();
        let count = lines.len();
        let mut newer: Vec<Value> = lines
            .into_iter()
            .filter(|line| line["seq"].as_f64().is_some_and(|seq| seq > last))
            .collect();
        let all_newer = newer.len() == count;
        newer.append(&mut fresh);
        fresh = newer;
        before = answer["before"].as_f64();
        // where nothing was shown before, what is older than the first page was not asked for
        if !all_newer || before.is_none() || last == f64::NEG_INFINITY {
            break;
        }
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of three lines of a log with lines 1 to `last`.
    fn log(last: u32, asked: &mut usize) -> impl FnMut(Option<f64>) -> Result<Value> {
        move |before| {
            *asked += 1;
            let end = before.map_or(last, |before| before as u32 - 1);
            let start = end.saturating_sub(2).max(1);
            let lines: Vec<Value> = (start..=end)
                .map(|seq| json!({ "seq": seq, "text": "x" }))
                .collect();
            Ok(json!({ "lines": lines, "before": (start > 1).then_some(start) }))
        }
    }

    fn fresh(last: f64, of: u32) -> (Vec<u64>, usize) {
        let mut asked = 0;
        let lines = since(last, log(of, &mut asked)).unwrap();
        let numbers = lines.iter().map(|line| line["seq"].as_u64().unwrap());
        (numbers.collect(), asked)
    }

    #[test]
    fn nothing_new_costs_one_question() {
        assert_eq!(fresh(5.0, 5), (vec![], 1));
    }

    #[test]
    fn new_lines_come_in_their_order_from_as_many_pages_as_it_takes() {
        assert_eq!(fresh(4.0, 5), (vec![5], 1));
        assert_eq!(fresh(2.0, 9), ((3..=9).collect(), 3));
    }

    #[test]
    fn a_log_that_began_meanwhile_is_shown_from_its_last_page() {
        assert_eq!(fresh(f64::NEG_INFINITY, 9), (vec![7, 8, 9], 1));
    }

    #[test]
    fn the_platform_understands_what_it_is_asked() {
        crate::client::served::takes(&[LOGS]);
    }
}
