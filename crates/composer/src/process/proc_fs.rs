//! Finding processes again: what `/proc` tells, and the mark in a process's environment.

use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable that marks every process of ours, and so its children: `<composer>/<handle>/<run>/<connector>`.
pub const MARK: &str = "FERROCTI_INSTANCE";

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub group: i32,
    /// Clock ticks between boot and start: together with the number it names one process for ever.
    pub ticks: u64,
    pub cpu_ticks: u64,
    pub resident_pages: u64,
}

/// A process that carries a mark of this composer.
#[derive(Debug, Clone)]
pub struct Marked {
    pub process: Process,
    pub handle: String,
    pub run: u64,
    pub connector: String,
}

/// The process with that number unless it has ended; a zombie has.
pub fn look_up(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the second field is the program's name in parentheses, which may hold anything
    let fields: Vec<&str> = stat
        .get(stat.rfind(')')? + 1..)?
        .split_whitespace()
        .collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Process {
        pid,
        group: fields.get(2)?.parse().ok()?,
        ticks: number(19)?,
        cpu_ticks: number(11)? + number(12)?,
        resident_pages: number(21)?,
    })
}

/// The environment that a process was started with; empty where it may not be read.
pub fn environment(pid: i32) -> Vec<(String, String)> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let text = String::from_utf8_lossy(entry);
            let (key, value) = text.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The numbers of all processes.
pub fn all() -> io::Result<Vec<i32>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// All processes that carry a mark of `composer`.
pub fn marked(composer: &str) -> io::Result<Vec<Marked>> {
    let prefix = format!("{MARK}={composer}/");
    let mut found = Vec::new();
    for pid in all()? {
        let Ok(bytes) = fs::read(format!("/proc/{pid}/environ")) else {
            continue;
        };
        let entry = bytes
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(prefix.as_bytes()));
        let Some(entry) = entry else { continue };
        let text = String::from_utf8_lossy(entry);
        let mut parts = text.splitn(3, '/');
        if let (Some(handle), Some(run), Some(connector)) =
            (parts.next(), parts.next(), parts.next())
            && let Ok(run) = run.parse()
            && let Some(process) = look_up(pid)
        {
            found.push(Marked {
                process,
                handle: handle.to_owned(),
                run,
                connector: connector.to_owned(),
            });
        }
    }
    Ok(found)
}

/// Names this boot of the machine: process numbers of another one mean nothing.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Sends a signal to one process, if it is still the one that is meant.
pub fn signal(process: &Process, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process.pid)
        && look_up(process.pid).is_some_and(|now| now.ticks == process.ticks)
    {
        let _ = kill_process(pid, signal);
    }
}

/// Sends a signal to the group that `leader` leads. The caller knows that the leader has not been reaped.
pub fn signal_group(leader: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(leader).filter(|pid| !pid.is_init()) {
        let _ = kill_process_group(pid, signal);
    }
}
