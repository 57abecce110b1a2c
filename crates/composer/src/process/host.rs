//! The instances of one directory, and the processes that belong to them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{
    ProcessSettings,
    journal::{self, End, Run, Spec},
    log,
    proc_fs::{self, Marked, Process},
    spawn, venv,
};
use crate::{
    Definition, Instance, Listing, Phase, Place, Secret, Source,
    orchestrator::{Failure, Foreign, LogPage, LogQuery, Stats},
};

/// What belongs to one orchestrator of processes.
pub struct Host {
    pub settings: ProcessSettings,
    pub instances: PathBuf,
    pub venvs: PathBuf,
    /// Held while instances are made, started, ended in the journal, and removed.
    pub gate: Mutex<()>,
    /// Held while logs are read and moved aside.
    pub logs: Mutex<()>,
    /// The Python environments that are being made, or wait for that; each is made by one at a time and holds up no other.
    pub making: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>>,
    pub changes: watch::Sender<u64>,
    pub _lock: File,
}

fn disk(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| Failure::Unavailable(format!("{}: {error}", path.display()))
}

/// The process that a run is: by number and start time, or by its mark when the number was not noted.
fn leader(handle: &str, run: &Run, boot: &str, marked: &[Marked]) -> Option<Process> {
    if run.boot != boot {
        return None;
    }
    match run.process {
        Some((pid, ticks)) => proc_fs::look_up(pid).filter(|process| process.ticks == ticks),
        None => marked
            .iter()
            .filter(|m| m.handle == handle && m.run == run.number)
            .map(|m| m.process)
            .min_by_key(|process| process.ticks),
    }
}

impl Host {
    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The directory of an instance that is there.
    fn place(&self, handle: &str) -> Result<PathBuf, Failure> {
        let place = self.instances.join(handle);
        if handle.is_empty() || handle.contains('/') || handle.starts_with('.') || !place.is_dir() {
            return Err(Failure::NotFound(handle.to_owned()));
        }
        Ok(place)
    }

    fn handles(&self) -> Result<Vec<String>, Failure> {
        let mut handles = Vec::new();
        for entry in fs::read_dir(&self.instances).map_err(disk(&self.instances))? {
            let entry = entry.map_err(disk(&self.instances))?;
            handles.extend(entry.file_name().into_string());
        }
        handles.sort();
        Ok(handles)
    }

    fn marked(&self) -> Result<Vec<Marked>, Failure> {
        proc_fs::marked(&self.settings.composer).map_err(disk(Path::new("/proc")))
    }

    fn run_of(&self, handle: &str) -> Option<Run> {
        journal::read(&self.instances.join(handle).join("run.json"))
            .ok()
            .flatten()
    }

    /// Everything that is alive of an instance, its leader first.
    fn alive(&self, handle: &str, marked: &[Marked]) -> Vec<Process> {
        let boot = proc_fs::boot();
        let leader = self
            .run_of(handle)
            .filter(|run| run.ended.is_none())
            .and_then(|run| leader(handle, &run, &boot, marked));
        let others = marked
            .iter()
            .filter(|m| m.handle == handle)
            .map(|m| m.process)
            .filter(|process| leader.is_none_or(|leader| leader.pid != process.pid));
        leader.into_iter().chain(others).collect()
    }

    /// At start: watches what still lives, and notes the end of what does not.
    pub fn adopt_own(self: &Arc<Self>) -> Result<(), Failure> {
        let marked = self.marked()?;
        let boot = proc_fs::boot();
        for handle in self.handles()? {
            let Some(mut run) = self.run_of(&handle).filter(|run| run.ended.is_none()) else {
                continue;
            };
            if let Some(process) = leader(&handle, &run, &boot, &marked) {
                run.process = Some((process.pid, process.ticks));
                self.note(&handle, &run)?;
                self.watch(&handle, run.number, process, None)?;
            } else {
                run.ended = Some(End::default());
                self.note(&handle, &run)?;
            }
        }
        Ok(())
    }

    fn note(&self, handle: &str, run: &Run) -> Result<(), Failure> {
        let path = self.instances.join(handle).join("run.json");
        journal::write(&path, run).map_err(disk(&path))
    }

    /// Waits for the end of a process, in a task.
    fn watch(
        self: &Arc<Self>,
        handle: &str,
        number: u64,
        process: Process,
        child: Option<Child>,
    ) -> Result<(), Failure> {
        let refused = |error: io::Error| {
            Failure::Unavailable(format!(
                "process {} cannot be watched: {error}",
                process.pid
            ))
        };
        let Some(pid) = Pid::from_raw(process.pid) else {
            return Ok(());
        };
        let exit = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| refused(error.into()))?;
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd, whose number cannot change; what replaces it is unsafe"
        )]
        let exit = AsyncFd::new(exit).map_err(refused)?;
        let (host, handle) = (Arc::downgrade(self), handle.to_owned());
        tokio::spawn(async move {
            let _ = exit.readable().await;
            let work = move || match (host.upgrade(), child) {
                (Some(host), child) => host.ended(&handle, number, process, child),
                // the directory may have another owner by now: it finds out by itself
                (None, Some(mut child)) => drop(child.wait()),
                (None, None) => {}
            };
            let _ = tokio::task::spawn_blocking(work).await;
        });
        Ok(())
    }

    /// Kills what a process has left behind and notes its end.
    fn ended(&self, handle: &str, number: u64, process: Process, child: Option<Child>) {
        let _gate = self.gate.lock();
        let mut code = None;
        if let Some(mut child) = child {
            // not reaped yet: its number, and so the group's, cannot be anybody else's
            proc_fs::signal_group(process.pid, Signal::KILL);
            code = child.wait().ok().and_then(|status| {
                use std::os::unix::process::ExitStatusExt;
                status.code().or(status.signal().map(|signal| -signal))
            });
        }
        for left in self.marked().unwrap_or_default() {
            if left.handle == handle && left.run == number {
                proc_fs::signal(&left.process, Signal::KILL);
            }
        }
        if let Some(mut run) = self.run_of(handle).filter(|run| run.number == number) {
            run.ended = Some(End {
                code,
                at: Some(self.settings.clock.now()),
            });
            // when the disk is full, the end is seen from /proc all the same
            let _ = self.note(handle, &run);
        }
        self.changed();
    }

    pub fn list(&self) -> Result<Listing, Failure> {
        self.list_with(self.marked()?)
    }

    fn list_with(&self, marked: Vec<Marked>) -> Result<Listing, Failure> {
        let boot = proc_fs::boot();
        let mut instances = BTreeMap::new();
        for handle in self.handles()? {
            let path = self.instances.join(&handle).join("spec.json");
            // one that is being made, or whose file was damaged, is nothing that could run
            let Ok(Some(spec)) = journal::read::<Spec>(&path) else {
                continue;
            };
            let run = self.run_of(&handle);
            let started_at = run.as_ref().map(|run| run.begun_at);
            let phase = match run {
                None => Phase::Created,
                Some(run) => match run.ended {
                    None if leader(&handle, &run, &boot, &marked).is_some() => Phase::Running,
                    ended => Phase::Exited {
                        code: ended.and_then(|end| end.code),
                        at: ended.and_then(|end| end.at),
                    },
                },
            };
            instances.insert(
                handle.clone(),
                Instance {
                    handle,
                    place: Place::Processes,
                    connector: spec.connector,
                    revision: spec.revision,
                    phase,
                    started_at,
                    restarts: 0,
                    said: None,
                },
            );
        }
        for found in marked {
            instances
                .entry(found.handle.clone())
                .or_insert_with(|| Instance {
                    handle: found.handle,
                    place: Place::Processes,
                    connector: found.connector,
                    revision: String::new(),
                    phase: Phase::Running,
                    started_at: None,
                    restarts: 0,
                    said: None,
                });
        }
        Ok(Listing {
            instances: instances.into_values().collect(),
            ..Listing::default()
        })
    }

    pub fn prepare(&self, definition: &Definition) -> Result<(), Failure> {
        let (argv, directory, requirements) = spawn::command(definition)?;
        let mut environment = None;
        if let Some(requirements) = requirements {
            let place = venv::place(&self.venvs, requirements)?;
            let turn = self.making.lock().entry(place.clone()).or_default().clone();
            let _turn = turn.lock();
            venv::make(&place, requirements)?;
            environment = Some(place);
        }
        if let Some(directory) = directory
            && !directory.is_dir()
        {
            return Err(Failure::Refused(format!(
                "the working directory {} is not there; make it, or name another",
                directory.display()
            )));
        }
        let name = argv.first().map_or("", String::as_str);
        venv::program(name, environment.as_deref(), directory).map(|_| ())
    }

    pub fn create(&self, definition: &Definition) -> Result<String, Failure> {
        if let Some(obstacle) = definition.obstacle() {
            return Err(Failure::Refused(obstacle));
        }
        spawn::check(&definition.options)?;
        let (argv, directory, requirements) = spawn::command(definition)?;
        let handle = definition.instance_name();
        let spec = Spec {
            connector: definition.connector.clone(),
            revision: definition.revision.clone(),
            argv: argv.to_vec(),
            directory: directory.map(Path::to_path_buf),
            venv: requirements
                .map(|file| venv::place(&self.venvs, file))
                .transpose()?,
            environment: Spec::environment_of(definition),
            options: definition.options.clone(),
        };
        let _gate = self.gate.lock();
        let place = self.instances.join(&handle);
        let work = place.join("work");
        // another user passes through to its own directory, and reads nothing on the way
        journal::directory(&place, 0o711).map_err(disk(&place))?;
        journal::directory(&work, 0o700).map_err(disk(&work))?;
        if let Some((user, group)) = definition.options.user {
            std::os::unix::fs::chown(&work, Some(user), Some(group)).map_err(disk(&work))?;
        }
        journal::write(&place.join("spec.json"), &spec).map_err(disk(&place))?;
        self.changed();
        Ok(handle)
    }

    pub fn start(self: &Arc<Self>, handle: &str) -> Result<(), Failure> {
        let _gate = self.gate.lock();
        let place = self.place(handle)?;
        let path = place.join("spec.json");
        let spec: Spec = journal::read(&path)
            .map_err(disk(&path))?
            .ok_or_else(|| Failure::NotFound(handle.to_owned()))?;
        let marked = self.marked()?;
        let listing = self.list_with(marked.clone())?;
        for instance in &listing.instances {
            if instance.connector != spec.connector || !instance.is_live() {
                continue;
            }
            if instance.handle == handle {
                return Ok(());
            }
            return Err(Failure::Refused(format!(
                "the instance {} of this connector is alive; stop it first",
                instance.handle
            )));
        }
        // what an earlier run left behind would be a second instance
        let left = marked.iter().filter(|m| m.connector == spec.connector);
        let left: Vec<Process> = left.map(|m| m.process).collect();
        if !left.is_empty() {
            for process in left {
                proc_fs::signal(&process, Signal::KILL);
            }
            return Err(Failure::Unavailable(
                "processes of an earlier run are still there and were killed; try again".to_owned(),
            ));
        }
        let before = self.run_of(handle);
        let mut run = Run {
            number: before.as_ref().map_or(0, |run| run.number) + 1,
            boot: proc_fs::boot(),
            begun_at: self.settings.clock.now(),
            process: None,
            ended: None,
        };
        self.note(handle, &run)?;
        let mark = format!(
            "{}/{handle}/{}/{}",
            self.settings.composer, run.number, spec.connector
        );
        let mut child = match spawn::spawn(&place, &spec, &mark) {
            Ok(child) => child,
            Err(failure) => {
                let path = place.join("run.json");
                match &before {
                    Some(before) => self.note(handle, before)?,
                    None => fs::remove_file(&path).map_err(disk(&path))?,
                }
                return Err(failure);
            }
        };
        let pid = i32::try_from(child.id()).unwrap_or_default();
        // a child that has ended already is a zombie until it is waited for, so that its number is its own
        let process = proc_fs::look_up(pid).unwrap_or(Process {
            pid,
            group: pid,
            ticks: 0,
            cpu_ticks: 0,
            resident_pages: 0,
        });
        run.process = Some((process.pid, process.ticks));
        if let Err(failure) = self.note(handle, &run) {
            proc_fs::signal_group(pid, Signal::KILL);
            let _ = child.wait();
            return Err(failure);
        }
        spawn::limit(pid, &spec.options);
        self.watch(handle, run.number, process, Some(child))?;
        self.changed();
        Ok(())
    }

    /// Sends SIGTERM or SIGKILL to everything that is alive of an instance, and answers with it.
    pub fn signal(&self, handle: &str, kill: bool) -> Result<Vec<Process>, Failure> {
        let signal = if kill { Signal::KILL } else { Signal::TERM };
        let marked = self.marked()?;
        let alive = self.alive(handle, &marked);
        if alive.is_empty() && self.place(handle).is_err() {
            return Err(Failure::NotFound(handle.to_owned()));
        }
        let mut signalled = Vec::new();
        for process in &alive {
            if process.group == process.pid {
                proc_fs::signal_group(process.pid, signal);
                signalled.push(process.pid);
            } else if !signalled.contains(&process.group) {
                proc_fs::signal(process, signal);
            }
        }
        Ok(alive)
    }

    /// Whether nothing of an instance is alive any more; its end is then in the journal.
    pub fn settle(&self, handle: &str) -> Result<bool, Failure> {
        let _gate = self.gate.lock();
        if !self.alive(handle, &self.marked()?).is_empty() {
            return Ok(false);
        }
        if let Some(mut run) = self.run_of(handle).filter(|run| run.ended.is_none()) {
            run.ended = Some(End {
                code: None,
                at: Some(self.settings.clock.now()),
            });
            self.note(handle, &run)?;
            self.changed();
        }
        Ok(true)
    }

    pub fn remove(&self, handle: &str) -> Result<(), Failure> {
        let _gate = self.gate.lock();
        if !self.alive(handle, &self.marked()?).is_empty() {
            return Err(Failure::Refused(format!(
                "the instance {handle} is alive; stop it first"
            )));
        }
        let Ok(place) = self.place(handle) else {
            return Ok(());
        };
        fs::remove_dir_all(&place).map_err(disk(&place))?;
        self.changed();
        Ok(())
    }

    pub fn rotate_logs(&self) {
        for handle in self.handles().unwrap_or_default() {
            let _logs = self.logs.lock();
            // a full disk is no reason to stop looking at the others; it is tried again
            let _ = log::rotate(&self.instances.join(handle), self.settings.log_bytes);
        }
    }

    pub fn read_log(&self, handle: &str, query: &LogQuery) -> Result<LogPage, Failure> {
        let place = self.place(handle)?;
        let live = !self.alive(handle, &[]).is_empty();
        let _logs = self.logs.lock();
        log::read(&place, query, live).map_err(disk(&place))
    }

    pub fn stats(&self, handles: &[String]) -> Result<BTreeMap<String, Stats>, Failure> {
        // one look at all processes, however many are asked for
        let marked = self.marked()?;
        let figures = handles.iter().filter(|handle| self.place(handle).is_ok());
        let figures = figures.map(|handle| {
            let alive = self.alive(handle, &marked);
            let pages: u64 = alive.iter().map(|p| p.resident_pages).sum();
            let ticks: u64 = alive.iter().map(|p| p.cpu_ticks).sum();
            let stats = Stats {
                memory: pages * rustix::param::page_size() as u64,
                cpu_millis: ticks * 1000 / rustix::param::clock_ticks_per_second().max(1),
                processes: alive.len() as u64,
            };
            (handle.clone(), stats)
        });
        Ok(figures.collect())
    }

    pub fn adoptable(&self) -> Result<Vec<Foreign>, Failure> {
        let namespace = fs::read_link("/proc/self/ns/pid").ok();
        let mut found: BTreeMap<i32, Foreign> = BTreeMap::new();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        for pid in proc_fs::all().map_err(disk(Path::new("/proc")))? {
            // a process of a container belongs to its engine
            if pid == own || fs::read_link(format!("/proc/{pid}/ns/pid")).ok() != namespace {
                continue;
            }
            let environment = proc_fs::environment(pid);
            let value = |key: &str| environment.iter().find(|(k, _)| k == key).map(|(_, v)| v);
            let Some(connector) = value("CONNECTOR_ID").cloned() else {
                continue;
            };
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let argv: Vec<String> = arguments
                .split(|byte| *byte == 0)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            let argv = argv[..argv.len().saturating_sub(1)].to_vec();
            if value(proc_fs::MARK).is_some() || proc_fs::look_up(pid).is_none() {
                continue;
            }
            // of a family with one id, the first is the connector
            if found.values().any(|f| f.connector == connector) {
                continue;
            }
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.insert(
                pid,
                Foreign {
                    handle: pid.to_string(),
                    name: name.trim().to_owned(),
                    connector,
                    running: true,
                    source: Source::Command {
                        argv,
                        directory: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
                        requirements: None,
                    },
                    digest: None,
                    environment: environment
                        .into_iter()
                        .map(|(key, value)| (key, Secret::new(value)))
                        .collect(),
                    mounts: Vec::new(),
                    networks: Vec::new(),
                    restart: None,
                    started_at: None,
                },
            );
        }
        Ok(found.into_values().collect())
    }
}
