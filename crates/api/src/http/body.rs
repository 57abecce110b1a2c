//! Request bodies: read within a limit per request and within one budget of memory for all requests together.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Plain;

/// The budget is counted in steps of this many bytes.
const STEP: usize = 64 * 1024;
/// How long a client may pause within a body, and how long a body may take beside a second for each step.
const SILENCE: Duration = Duration::from_secs(60);
/// A body that announces no more than this is charged as it comes, since whoever announces it may never send it. A longer one is charged at once, so that
/// half-read bodies do not wait for each other.
pub(super) const SHORT: usize = 1 << 20;

/// Memory that the bodies of all requests may take together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    steps: u32,
    /// How long a request may wait for its share.
    patience: Duration,
}

impl Budget {
    /// A budget of about `bytes`, for which requests wait at most `patience`.
    pub(crate) fn new(bytes: usize, patience: Duration) -> Self {
        let steps = u32::try_from(bytes / STEP).unwrap_or(u32::MAX).max(1);
        Self {
            free: Arc::new(Semaphore::new(steps as usize)),
            steps,
            patience,
        }
    }
}

/// A part of the budget; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

/// A body in memory.
#[derive(Debug)]
pub(crate) struct Held {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// What it and everything made of it takes of the budget.
    pub(crate) share: Share,
}

/// Reads a body of at most `limit` bytes. `weight` is how many bytes of memory a byte of the body costs.
///
/// # Errors
/// The answer to give: 413 for a body that is too long, 503 when the budget stays exhausted, 408 for a silent client.
pub(crate) async fn read(
    body: Body,
    limit: usize,
    weight: usize,
    budget: &Budget,
) -> Result<Held, Plain> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(too_large(limit));
    }
    let announced = usize::try_from(announced).unwrap_or(limit);
    let mut held = if announced > SHORT {
        announced
    } else {
        announced.clamp(1, STEP)
    };
    let mut share = Share(None);
    grow(budget, &mut share, held, weight).await?;
    let mut bytes = Vec::with_capacity(held);
    let mut body = pin!(body);
    let began = Instant::now();
    loop {
        let due = began + SILENCE + Duration::from_secs((bytes.len() / STEP) as u64);
        let until = due.min(Instant::now() + SILENCE);
        let frame = tokio::time::timeout_at(until, poll_fn(|cx| body.as_mut().poll_frame(cx)))
            .await
            .map_err(|_| {
                Plain::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "The request body did not arrive.",
                )
            })?;
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|_| Plain::new(StatusCode::BAD_REQUEST, "The request body broke off."))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if bytes.len() + data.len() > held {
            let more = (bytes.len() + data.len() - held).max(STEP);
            grow(budget, &mut share, more, weight).await?;
            held += more;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held { bytes, share })
}

fn too_large(limit: usize) -> Plain {
    Plain::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "The request body is larger than {limit} bytes. Send the data in smaller pieces or raise the limit in the configuration."
        ),
    )
}

/// Takes more of the budget. What is larger than the whole budget takes all of it and so goes alone.
async fn grow(
    budget: &Budget,
    share: &mut Share,
    bytes: usize,
    weight: usize,
) -> Result<(), Plain> {
    let held = share
        .0
        .as_ref()
        .map_or(0, OwnedSemaphorePermit::num_permits);
    let left = budget
        .steps
        .saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
    let steps = u32::try_from(bytes.saturating_mul(weight).div_ceil(STEP)).unwrap_or(u32::MAX);
    let taking = budget.free.clone().acquire_many_owned(steps.min(left));
    match tokio::time::timeout(budget.patience, taking).await {
        Ok(Ok(more)) => {
            match &mut share.0 {
                Some(share) => share.merge(more),
                none => *none = Some(more),
            }
            Ok(())
        }
        _ => Err(Plain::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many large requests are being processed. Try again later.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_body_beyond_the_whole_budget_goes_alone() {
        runtime().block_on(async {
            let budget = Budget::new(4 * STEP, Duration::from_secs(5));
            let held = read(Body::from(vec![1; 3 * STEP]), 10 * STEP, 3, &budget)
                .await
                .unwrap();
            assert_eq!(held.bytes.len(), 3 * STEP);
            assert_eq!(budget.free.available_permits(), 0);
            drop(held);
            assert_eq!(budget.free.available_permits(), 4);
        });
    }

    /// A body that is announced and never sent.
    struct Silent(u64);

    impl HttpBody for Silent {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Pending
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.0)
        }
    }

    #[test]
    fn a_short_body_that_never_comes_takes_one_step_only() {
        runtime().block_on(async {
            let budget = Budget::new(100 * STEP, Duration::from_secs(5));
            let mut silent = pin!(read(
                Body::new(Silent(SHORT as u64)),
                10 * SHORT,
                3,
                &budget
            ));
            assert!(polled_once(silent.as_mut()).await.is_none());
            assert_eq!(budget.free.available_permits(), 97);
            let mut long = pin!(read(
                Body::new(Silent(30 * STEP as u64)),
                10 * SHORT,
                3,
                &budget
            ));
            assert!(polled_once(long.as_mut()).await.is_none());
            assert_eq!(budget.free.available_permits(), 7);
        });
    }

    /// Polls once.
    async fn polled_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| {
            std::task::Poll::Ready(match future.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[test]
    fn an_exhausted_budget_refuses_instead_of_growing() {
        runtime().block_on(async {
            let budget = Budget::new(STEP, Duration::from_millis(10));
            let held = read(Body::from("a"), STEP, 1, &budget).await.unwrap();
            let refused = read(Body::from("b"), STEP, 1, &budget).await.unwrap_err();
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
            drop(held);
            assert!(read(Body::from("c"), STEP, 1, &budget).await.is_ok());
        });
    }
}
