//! Decodes bundles and prints how fast, and what was refused: `cargo run --release -p ferrocti-model --example decode -- FILE…`

use std::{collections::BTreeMap, error::Error, time::Instant};

use ferrocti_model::{bundle, stix};

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let started = Instant::now();
        let bundle = bundle::parse(&bytes, bundle::Limits::default())?;
        let split = started.elapsed();
        let started = Instant::now();
        let results: Vec<_> = bundle
            .objects
            .iter()
            .map(|object| (object, stix::decode_json(object.json)))
            .collect();
        let decoded = started.elapsed();
        let elements: Vec<_> = results
            .iter()
            .filter_map(|(_, result)| result.as_ref().ok())
            .flat_map(|decoded| &decoded.elements)
            .collect();
        let started = Instant::now();
        let order = bundle::order(&elements);
        let ordered = started.elapsed();
        let count = results.len().max(1) as f64;
        println!(
            "{path}: {} objects, {} elements; split {:.2} µs, decode {:.2} µs, order {:.2} µs per object; {:.0} objects/s",
            results.len(),
            order.len(),
            split.as_secs_f64() * 1e6 / count,
            decoded.as_secs_f64() * 1e6 / count,
            ordered.as_secs_f64() * 1e6 / count,
            count / (split + decoded + ordered).as_secs_f64(),
        );
        let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
        let mut count_one = |message: String| *refusals.entry(message).or_default() += 1;
        for (object, result) in &results {
            match result {
                Err(refusal) => {
                    let stix_type = object.stix_type.as_deref().unwrap_or("?");
                    count_one(format!("refused {stix_type}: {refusal}"));
                }
                Ok(decoded) => decoded
                    .dropped
                    .iter()
                    .for_each(|dropped| count_one(format!("dropped: {dropped}"))),
            }
        }
        let mut general: BTreeMap<String, usize> = BTreeMap::new();
        for (what, count) in refusals {
            *general.entry(without_ids(&what)).or_default() += count;
        }
        for (what, count) in general {
            println!("  {count} × {what}");
        }
    }
    Ok(())
}

/// Messages that differ in an id only are counted together.
fn without_ids(message: &str) -> String {
    message
        .split(' ')
        .map(|word| word.split_once("--").map_or(word, |(before, _)| before))
        .collect::<Vec<_>>()
        .join(" ")
}
