//! Logs of containers: frames of eight bytes of header and a line that begins with its time.

use hyper::{Method, body::Incoming};
use jiff::Timestamp;

use super::{Docker, client};
use crate::orchestrator::{Failure, LogPage, LogQuery};

/// The most bytes of a frame; the engine cuts lines at 16 KiB.
const FRAME: usize = 1 << 20;

/// Splits a stream into frames.
struct Frames {
    stream: Incoming,
    rest: Vec<u8>,
}

impl Frames {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(head) = self.rest.first_chunk::<8>() {
                let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
                if length > FRAME {
                    return Err(Failure::Unavailable(
                        "the engine's log is not in frames".to_owned(),
                    ));
                }
                if self.rest.len() >= 8 + length {
                    let line = self.rest[8..8 + length].to_vec();
                    self.rest.drain(..8 + length);
                    return Ok(Some(line));
                }
            }
            match client::next(&mut self.stream).await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

impl Docker {
    /// Some lines; places in the log are times, as no two lines have the same.
    pub async fn read_log(&self, handle: &str, query: &LogQuery) -> Result<LogPage, Failure> {
        let limit = match query.limit {
            0 => 1000,
            limit => limit,
        };
        let after = query
            .after
            .as_deref()
            .map(|text| text.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH));
        let Some(after) = after else {
            return self
                .read_part(handle, &format!("tail={limit}"), None, limit)
                .await;
        };
        // the engine reads a whole log for what is new since a time, but its end at once
        let tail = format!("tail={limit}");
        let page = self.read_part(handle, &tail, Some(after), limit).await?;
        if page.lines.len() < limit {
            return Ok(page);
        }
        let (seconds, nanos) = (after.as_second(), after.subsec_nanosecond());
        let since = format!("since={seconds}.{nanos:09}");
        self.read_part(handle, &since, Some(after), limit).await
    }

    async fn read_part(
        &self,
        handle: &str,
        part: &str,
        after: Option<Timestamp>,
        limit: usize,
    ) -> Result<LogPage, Failure> {
        let path = format!("/containers/{handle}/logs?stdout=1&stderr=1&timestamps=1&{part}");
        let response = self.client.open(Method::GET, &path, None, None).await?;
        if !response.status().is_success() {
            return Err(Failure::Unavailable(format!(
                "the engine gives no log: {}",
                response.status()
            )));
        }
        let mut frames = Frames {
            stream: response.into_body(),
            rest: Vec::new(),
        };
        let mut page = LogPage {
            lines: Vec::new(),
            next: after.map(|time| time.to_string()),
        };
        let mut last = after;
        while let Some(frame) = frames.next().await? {
            let text = String::from_utf8_lossy(&frame);
            let Some((time, line)) = text.split_once(' ') else {
                continue;
            };
            let Ok(time) = time.parse::<Timestamp>() else {
                continue;
            };
            if after.is_some_and(|after| time <= after) {
                continue;
            }
            // should two lines have one time after all, they are on one page
            if page.lines.len() >= limit && last != Some(time) {
                break;
            }
            page.lines.push(line.trim_end_matches('\n').to_owned());
            page.next = Some(time.to_string());
            last = Some(time);
        }
        Ok(page)
    }
}
