//! The log of an instance: the process appends to `log` itself, so that it needs nobody; what is over the bound is moved aside.
//!
//! A place in the log is the number of bytes before it since the instance was made. `log.<place>` holds what began at that place, `log` what came
//! after. Moving aside is copying and emptying, because the process keeps the file open: what it writes in between the two, some microseconds, is lost.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::orchestrator::{LogPage, LogQuery};

/// How many files are kept beside the one that is written.
const KEPT: usize = 2;
/// What is read at once.
const PAGE: u64 = 1 << 20;
/// A line that is longer is cut.
const LINE: usize = 64 << 10;

/// Opens the file that the process writes to.
pub fn open(directory: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(directory.join("log"))
}

/// The files that were moved aside: where each begins, its length, its path; oldest first.
fn aside(directory: &Path) -> io::Result<Vec<(u64, u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let start = name.to_str().and_then(|n| n.strip_prefix("log."));
        if let Some(start) = start.and_then(|n| n.parse().ok()) {
            files.push((start, entry.metadata()?.len(), entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// Moves the log aside when it is longer than `bound` bytes; at most `bound` bytes of it are kept.
pub fn rotate(directory: &Path, bound: u64) -> io::Result<()> {
    let mut log = match OpenOptions::new()
        .read(true)
        .write(true)
        .open(directory.join("log"))
    {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = log.metadata()?.len();
    if length <= bound {
        return Ok(());
    }
    let files = aside(directory)?;
    let base = files.last().map_or(0, |(start, length, _)| start + length);
    let skipped = length - bound;
    log.seek(SeekFrom::Start(skipped))?;
    let draft = directory.join("log.draft");
    let mut aside = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    io::copy(&mut log, &mut aside)?;
    log.set_len(0)?;
    fs::rename(draft, directory.join(format!("log.{}", base + skipped)))?;
    let surplus = (files.len() + 1).saturating_sub(KEPT);
    for (_, _, path) in files.into_iter().take(surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Some lines. A line without an end is shown when the process is no longer `live`.
pub fn read(directory: &Path, query: &LogQuery, live: bool) -> io::Result<LogPage> {
    let limit = match query.limit {
        0 => 1000,
        limit => limit,
    };
    let mut files = aside(directory)?;
    let base = files.last().map_or(0, |(start, length, _)| start + length);
    let path = directory.join("log");
    let length = fs::metadata(&path).map_or(0, |file| file.len());
    files.push((base, length, path));
    let end = base + length;
    let after = query
        .after
        .as_deref()
        .and_then(|text| text.parse::<u64>().ok());
    let oldest = files.first().map_or(0, |(start, ..)| *start);
    let mut from = after.unwrap_or(end.saturating_sub(PAGE)).clamp(oldest, end);
    let mut bytes = Vec::new();
    let mut gap = false;
    for (start, length, path) in files {
        let place = from + bytes.len() as u64;
        // what was over the bound when a file was moved aside is not there any more
        if start > place && bytes.is_empty() {
            from = start;
        } else if start > place {
            gap = true;
            break;
        }
        let room = PAGE - bytes.len() as u64;
        let skip = place.saturating_sub(start);
        if room == 0 || skip >= length {
            continue;
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(skip))?;
        file.take(room.min(length - skip)).read_to_end(&mut bytes)?;
    }
    let mut place = from;
    let mut lines = Vec::new();
    let mut rest = bytes.as_slice();
    if after.is_none() && from > oldest {
        // the page may begin within a line
        let cut = rest.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1);
        rest = &rest[cut..];
        place += cut as u64;
    }
    while !rest.is_empty() && (after.is_none() || lines.len() < limit) {
        let (line, taken) = match rest.iter().take(LINE).position(|byte| *byte == b'\n') {
            Some(n) => (&rest[..n], n + 1),
            None if rest.len() >= LINE => (&rest[..LINE], LINE),
            None if live && !gap => break,
            None => (rest, rest.len()),
        };
        lines.push(String::from_utf8_lossy(line).into_owned());
        place += taken as u64;
        rest = &rest[taken..];
    }
    if after.is_none() && lines.len() > limit {
        lines.drain(..lines.len() - limit);
    }
    Ok(LogPage {
        lines,
        next: Some(place.to_string()),
    })
}
