//! Decodes bundles and prints how fast, and what was refused: `cargo run --release -p ferrocti-model --example decode -- FILE…`

use std::{collections::BTreeMap, error::Error, time::Instant};

use ferrocti_model::{bundle, stix};

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let bundle = bundle::parse(&bytes, bundle::Limits::default())?;
        let split = best(|| bundle::parse(&bytes, bundle::Limits::default()).map(drop));
        let parse = best(|| {
            bundle
                .objects
                .iter()
                .for_each(|object| drop(serde_json::from_str::<serde_json::Value>(object.json)));
        });
        let decode = best(|| {
            bundle
                .objects
                .iter()
                .for_each(|object| drop(stix::decode_json(object.json)));
        });
        let results: Vec<_> = bundle
            .objects
            .iter()
            .map(|object| (object, stix::decode_json(object.json)))
            .collect();
        let elements: Vec<_> = results
            .iter()
            .filter_map(|(_, result)| result.as_ref().ok())
            .flat_map(|decoded| &decoded.elements)
            .collect();
        let order = bundle::order(&elements);
        let ordered = best(|| bundle::order(&elements));
        let count = results.len().max(1) as f64;
        println!(
            "{path}: {} objects of {} bytes, {} elements; µs per object: split {:.2}, decode {:.2} (of which JSON {:.2}), order {:.2}; {:.0} objects/s",
            results.len(),
            bytes.len() / results.len().max(1),
            order.len(),
            split * 1e6 / count,
            decode * 1e6 / count,
            parse * 1e6 / count,
            ordered * 1e6 / count,
            count / (split + decode + ordered),
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

/// Seconds of the fastest of several runs, since other work on the machine only ever slows one down.
fn best<T>(work: impl Fn() -> T) -> f64 {
    (0..7)
        .map(|_| {
            let started = Instant::now();
            std::hint::black_box(work());
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}
