//! Request bodies: read within a limit per request and within one budget of memory for all requests together.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Plain;

/// The budget is counted in steps of this many bytes.
const STEP: usize = 64 * 1024;
/// How long a request may wait for its share of the budget.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may pause within a body.
const SILENCE: Duration = Duration::from_secs(60);

/// Memory that the bodies of all requests may take together.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of about `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(
            (bytes / STEP).clamp(1, Semaphore::MAX_PERMITS),
        )))
    }
}

/// A body in memory. The share of the budget is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
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
    let mut share = grow(budget, None, announced.max(1), weight).await?;
    let mut held = announced.max(1);
    let mut bytes = Vec::with_capacity(announced);
    let mut body = pin!(body);
    loop {
        let frame = tokio::time::timeout(SILENCE, poll_fn(|cx| body.as_mut().poll_frame(cx)))
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
            share = grow(budget, share, more, weight).await?;
            held += more;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held {
        bytes,
        _share: share,
    })
}

fn too_large(limit: usize) -> Plain {
    Plain::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "The request body is larger than {limit} bytes. Send the data in smaller pieces or raise the limit in the configuration."
        ),
    )
}

async fn grow(
    budget: &Budget,
    share: Option<OwnedSemaphorePermit>,
    bytes: usize,
    weight: usize,
) -> Result<Option<OwnedSemaphorePermit>, Plain> {
    let steps = u32::try_from((bytes.saturating_mul(weight)).div_ceil(STEP)).unwrap_or(u32::MAX);
    match tokio::time::timeout(PATIENCE, budget.0.clone().acquire_many_owned(steps)).await {
        Ok(Ok(more)) => Ok(Some(match share {
            Some(mut share) => {
                share.merge(more);
                share
            }
            None => more,
        })),
        _ => Err(Plain::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many large requests are being processed. Try again later.",
        )),
    }
}
