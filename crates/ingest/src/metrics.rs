//! What ingestion did since the start, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrocti_model::clock::Millis;
use parking_lot::Mutex;

/// What became of objects, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects that were created, implied ones (labels, …) not counted.
    pub created: u64,
    /// Objects that were changed.
    pub updated: u64,
    /// Objects that were there already, just so.
    pub unchanged: u64,
    /// Objects that were refused, with a reason in their work.
    pub refused: u64,
    /// Objects that wait for others.
    pub parked: u64,
    /// Objects that the message's own restriction left out.
    pub skipped: u64,
    /// Objects of which a part was not applied; they are among the others.
    pub partial: u64,
}

impl Tally {
    /// All objects, each once.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused + self.parked + self.skipped
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
        self.parked += other.parked;
        self.skipped += other.skipped;
        self.partial += other.partial;
    }
}

/// A reading of the counters; totals are since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Metrics {
    /// Objects by what became of them.
    pub objects: Tally,
    /// Objects per second over the last ten seconds.
    pub objects_per_second: f64,
    /// Messages applied.
    pub messages: u64,
    /// Messages set aside as dead letters.
    pub dead_letters: u64,
    /// Messages dropped because their work was deleted.
    pub dropped: u64,
    /// Messages that had been applied before and were only acknowledged.
    pub repeated: u64,
    /// Commits.
    pub batches: u64,
    /// Objects in the last batch.
    pub last_batch_objects: u64,
    /// Milliseconds that applying and committing the last batch took.
    pub last_batch_millis: u64,
    /// Age in milliseconds of the oldest message of the last batch when it was committed.
    pub lag_millis: u64,
    /// Bytes of messages that are being worked on.
    pub bytes_in_flight: u64,
}

const WINDOW_SECONDS: usize = 10;

/// Objects by second, for the rate.
#[derive(Debug, Default)]
struct Window {
    buckets: [(i64, u64); WINDOW_SECONDS],
}

impl Window {
    fn add(&mut self, now: Millis, objects: u64) {
        let second = now / 1000;
        let bucket = &mut self.buckets
            [usize::try_from(second.rem_euclid(WINDOW_SECONDS as i64)).unwrap_or(0)];
        if bucket.0 != second {
            *bucket = (second, 0);
        }
        bucket.1 += objects;
    }

    fn rate(&self, now: Millis) -> f64 {
        let second = now / 1000;
        let recent = |at: i64| at <= second && at > second - WINDOW_SECONDS as i64;
        let objects: u64 = self
            .buckets
            .iter()
            .filter(|(at, _)| recent(*at))
            .map(|(_, objects)| objects)
            .sum();
        objects as f64 / WINDOW_SECONDS as f64
    }
}

#[derive(Debug, Default)]
struct Totals {
    metrics: Metrics,
    window: Window,
}

/// The counters that the pipeline's threads write.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    totals: Mutex<Totals>,
    in_flight: AtomicU64,
}

/// One committed batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchFigures {
    pub objects: Tally,
    pub messages: u64,
    pub dead_letters: u64,
    pub dropped: u64,
    pub repeated: u64,
    pub millis: u64,
    pub lag_millis: u64,
}

impl Counters {
    pub(crate) fn committed(&self, now: Millis, batch: &BatchFigures) {
        let mut totals = self.totals.lock();
        let metrics = &mut totals.metrics;
        metrics.objects.add(&batch.objects);
        metrics.messages += batch.messages;
        metrics.dead_letters += batch.dead_letters;
        metrics.dropped += batch.dropped;
        metrics.repeated += batch.repeated;
        metrics.batches += 1;
        metrics.last_batch_objects = batch.objects.total();
        metrics.last_batch_millis = batch.millis;
        metrics.lag_millis = batch.lag_millis;
        totals.window.add(now, batch.objects.total());
    }

    pub(crate) fn set_in_flight(&self, bytes: u64) {
        self.in_flight.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, now: Millis) -> Metrics {
        let totals = self.totals.lock();
        Metrics {
            objects_per_second: totals.window.rate(now),
            bytes_in_flight: self.in_flight.load(Ordering::Relaxed),
            ..totals.metrics
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_forgets_what_is_older_than_ten_seconds() {
        let counters = Counters::default();
        let batch = BatchFigures {
            objects: Tally {
                created: 60,
                unchanged: 40,
                ..Tally::default()
            },
            messages: 1,
            ..BatchFigures::default()
        };
        counters.committed(1_000_000, &batch);
        counters.committed(1_004_000, &batch);
        assert!((counters.read(1_005_000).objects_per_second - 20.0).abs() < f64::EPSILON);
        assert!((counters.read(1_012_000).objects_per_second - 10.0).abs() < f64::EPSILON);
        let late = counters.read(2_000_000);
        assert!(late.objects_per_second.abs() < f64::EPSILON);
        assert_eq!((late.objects.total(), late.batches), (200, 2));
    }
}
