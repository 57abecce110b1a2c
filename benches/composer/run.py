#!/usr/bin/env python3
"""Measures the composer of the running platform against its goals; see README.md."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from docker_engine import Engine
from managed import MARK, NOWHERE, Managed, Report, Server, cpu, end_marked, marked, percentile, resident, until

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "target" / "venvs" / "pycti-7.261026.0" / "bin" / "python"
CONNECTOR = ROOT / "tests" / "connectors" / "import_with_state.py"
#: Writes when it was started and as which process, and becomes something quiet.
STAMPING = ["/bin/sh", "-c", 'echo "$(date +%s.%N) $$" >>"$0"; exec sleep 1000000']
#: xtm-composer 3.260728 with 100 connectors on a machine like this one, from requested to running: with the cores free, and beside another benchmark.
UPSTREAM = (31.6, 44.4)
MALWARE = {
    "type": "malware", "spec_version": "2.1", "id": "malware--7f1d2c1e-0b1f-4d1c-9a5e-3f2f4c1b2a90", "name": "Bench", "is_family": False,
    "created": "2024-01-01T00:00:00.000Z", "modified": "2024-01-01T00:00:00.000Z",
}  # fmt: skip
BUNDLE = {"type": "bundle", "id": "bundle--7f1d2c1e-0b1f-4d1c-9a5e-3f2f4c1b2a90", "objects": [MALWARE]}


def main() -> int:
    parts = {"process": process, "container": container, "containers": containers, "memory": memory, "connectors": connectors}
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("parts", nargs="*", help="what to measure, otherwise everything; " + ", ".join(parts))
    arguments.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "ferrocti")
    arguments.add_argument("--rounds", type=int, default=20, help="repetitions for one connector")
    arguments.add_argument("--containers", type=int, default=100)
    arguments.add_argument("--connectors", type=int, default=50, help="unmodified connectors as processes")
    arguments.add_argument("--idle", type=int, default=60, help="seconds for which what is idle is looked at")
    arguments.add_argument("--json", type=Path, help="file for the figures")
    given = arguments.parse_args()
    given.binary = given.binary.resolve()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ferrocti-bench-", ignore_cleanup_errors=True) as scratch:
        for name in given.parts or parts:
            directory = Path(scratch) / name
            directory.mkdir()
            try:
                parts[name](given, report, directory)
            finally:
                end_marked()
    if given.json:
        report.save(given.json)
    print(f"\n{len(report.missed)} of the goals missed" + "".join(f"\n  {name}" for name in report.missed))
    return 0


def section(report: Report, title: str) -> None:
    report.section(f"{title}   [load {os.getloadavg()[0]:.1f}]")


def latency(report: Report, name: str, seconds: list[float], goal: float | None = None, raw: list[float] | None = None) -> None:
    """The median beside its goal, with the worst, and the ratio to the raw median."""
    middle = statistics.median(seconds)
    more = f"worst {max(seconds) * 1e3:,.0f} ms of {len(seconds)}"
    if raw:
        more += f"; {middle / statistics.median(raw):.1f} × raw ({statistics.median(raw) * 1e3:,.1f} ms)"
    if goal is None:
        report.note(name, f"{middle:.3f} s  {more}", {"seconds": seconds, "raw": raw})
    else:
        report.goal(name, middle, goal, " s", more=more)


# --- one connector ------------------------------------------------------------------------------------------------------------------


class Stamps:
    """What `STAMPING` has written: time and process of each start."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seen = 0

    def next(self, seconds: float = 60) -> tuple[float, int]:
        def look() -> list[str] | None:
            lines = self.file.read_text().splitlines() if self.file.exists() else []
            return lines if len(lines) > self.seen else None

        lines = until(look, "the process has started", seconds, 0.002)
        self.seen += 1
        at, pid = lines[self.seen - 1].split()
        return float(at), int(pid)


def gone(pid: int) -> float:
    """When it has ended, whether or not somebody has taken note."""

    def look() -> float | None:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return time.time()
        return time.time() if state == "Z" else None

    return until(look, "the process has ended", 60, 0.001)


def process(given: argparse.Namespace, report: Report, directory: Path) -> None:
    section(report, "One local process")
    raw = []
    stamps = Stamps(directory / "raw")
    for _ in range(given.rounds):
        began = time.time()
        child = subprocess.Popen([*STAMPING, str(stamps.file)])
        raw.append(stamps.next()[0] - began)
        child.kill()
        child.wait()
    deployed, started, told_start, ended, told_end, told_crash, again = [], [], [], [], [], [], []
    with Managed(given.binary, directory / "platform") as platform:
        for n in range(min(given.rounds, 10)):
            stamps = Stamps(directory / f"deployed-{n}")
            began = time.time()
            connector = platform.deploy(f"Deployed {n}", {"command": [*STAMPING, str(stamps.file)]})
            deployed.append(stamps.next()[0] - began)
            platform.reported(connector, "started")
            platform.request(connector, "stopping")
            platform.reported(connector, "stopped")
        stamps = Stamps(directory / "stamps")
        connector = platform.deploy("One", {"command": [*STAMPING, str(stamps.file)]}, start=False)
        for _ in range(given.rounds):
            began = time.time()
            platform.request(connector, "starting")
            at, pid = stamps.next()
            started.append(at - began)
            told_start.append(platform.reported(connector, "started") - at)
            began = time.time()
            os.kill(pid, signal.SIGKILL)
            told_crash.append(platform.reported(connector, "stopped") - began)
            at, pid = stamps.next(400)
            again.append(at - began)
            platform.reported(connector, "started")
            began = time.time()
            platform.request(connector, "stopping")
            at = gone(pid)
            ended.append(at - began)
            told_end.append(platform.reported(connector, "stopped") - at)
    latency(report, "deployed → process started", deployed, 0.3, raw)
    latency(report, "start requested → process started", started, 0.3, raw)
    latency(report, "process started → reported", told_start, 0.5)
    latency(report, "stop requested → process ended", ended)
    latency(report, "process ended as asked → reported", told_end, 0.5)
    latency(report, "process killed by hand → reported", told_crash, 0.5)
    latency(report, "process killed by hand → runs again (waits 1 s)", again)


def container(given: argparse.Namespace, report: Report, directory: Path) -> None:
    engine = Engine(directory / "docker").start()
    try:
        section(report, "One container")
        raw = []
        for n in range(min(given.rounds, 10)):
            began = time.time()
            engine.run(f"raw-{n}", "bench/obeys:1")
            raw.append(engine.times(f"raw-{n}")[0] - began)
        engine.remove_all("bench=raw")
        with Managed(given.binary, directory / "platform", docker=f"unix://{engine.socket}") as platform:
            one_container(given, report, engine, platform, raw)
    finally:
        engine.stop()


def one_container(given: argparse.Namespace, report: Report, engine: Engine, platform: Managed, raw: list[float]) -> None:
    deployed, started, told_start, ended, told_end, told_crash = [], [], [], [], [], []
    image = {"image": "bench/obeys:1"}

    def own(connector: str) -> str:
        return engine.list(f"io.ferrocti.connector={connector}")[0]["Id"]

    for n in range(min(given.rounds, 10)):
        began = time.time()
        connector = platform.deploy(f"Deployed {n}", image)
        told = platform.reported(connector, "started")
        at, _ = engine.times(own(connector))
        deployed.append(at - began)
        told_start.append(told - at)
        platform.request(connector, "stopping")
        platform.reported(connector, "stopped")
    connector = platform.deploy("One", image, start=False)
    for _ in range(given.rounds):
        began = time.time()
        platform.request(connector, "starting")
        told = platform.reported(connector, "started")
        found = own(connector)
        at, _ = engine.times(found)
        started.append(at - began)
        told_start.append(told - at)
        engine.ask("POST", f"/containers/{found}/kill")
        told = platform.reported(connector, "stopped")
        told_crash.append(told - engine.times(found)[1])
        platform.reported(connector, "started", 400)
        began = time.time()
        platform.request(connector, "stopping")
        told = platform.reported(connector, "stopped")
        at = engine.times(found)[1]
        ended.append(at - began)
        told_end.append(told - at)
    latency(report, "deployed → container runs", deployed, 1, raw)
    latency(report, "start requested → container runs", started, 1)
    latency(report, "container started → reported", told_start, 0.5)
    latency(report, "stop requested → container ended", ended)
    latency(report, "container ended as asked → reported", told_end, 0.5)
    latency(report, "container killed by hand → reported", told_crash, 0.5)


# --- many containers ----------------------------------------------------------------------------------------------------------------


def containers(given: argparse.Namespace, report: Report, directory: Path) -> None:
    number = given.containers
    engine = Engine(directory / "docker").start()
    try:
        section(report, f"{number} containers that ignore SIGTERM: the engine alone")
        raw = raw_containers(report, engine, number)
        with Managed(given.binary, directory / "platform", docker=f"unix://{engine.socket}", agent=True) as platform:
            section(report, f"{number} containers that ignore SIGTERM: managed, the composer as an agent")
            many_containers(given, report, engine, platform, raw)
    finally:
        engine.stop()


def raw_containers(report: Report, engine: Engine, number: int) -> dict[str, float]:
    """The same containers by the engine's API, and some by the `docker` command."""
    found = {}
    few = max(1, number // 4)
    began = time.monotonic()
    for n in range(few):
        command = ["docker", "-H", f"unix://{engine.socket}", "run", "-d", "--init", "--network", "none", "--label", "bench=raw", "--name", f"cli-{n}", "bench/deaf:1"]
        subprocess.run(command, capture_output=True, check=True)
    found["cli"] = (time.monotonic() - began) * number / few
    report.note("docker run -d, one after the other", f"{found['cli']:.1f} s (of {few})", found["cli"])
    engine.remove_all("bench=raw")
    for at_a_time in (1, 4, 8):
        used = cpu(*engine.processes())
        began = time.monotonic()
        engine.run_many(f"raw{at_a_time}", "bench/deaf:1", number, at_a_time)
        found[str(at_a_time)] = time.monotonic() - began
        used = cpu(*engine.processes()) - used
        report.note(f"Engine API, {at_a_time} at a time", f"{found[str(at_a_time)]:.1f} s; engine's CPU {used:.1f} s", found[str(at_a_time)])
        if at_a_time == 8:
            began = time.monotonic()
            engine.stop_many("raw8", number, 10)
            found["stop"] = time.monotonic() - began
            report.note("Engine API, all stopped at once, grace 10 s", f"{found['stop']:.1f} s", found["stop"])
        engine.remove_all("bench=raw")
    return found


def many_containers(given: argparse.Namespace, report: Report, engine: Engine, platform: Managed, raw: dict[str, float]) -> None:
    number = given.containers
    label = "io.ferrocti.composer"

    def running(wanted: int) -> Callable[[], bool]:
        return lambda: len([each for each in engine.list(label) if each["State"] == "running"]) == wanted

    def times() -> list[tuple[float, float]]:
        return [engine.times(each["Id"]) for each in engine.list(label)]

    def used() -> tuple[float, float, float]:
        return cpu(platform.composer), cpu(platform.server.process.pid), cpu(*engine.processes())

    def spent(before: tuple[float, float, float]) -> str:
        composer, server, docker = (now - then for now, then in zip(used(), before, strict=True))
        return f"CPU: composer {composer:.1f} s, platform {server:.1f} s, engine {docker:.1f} s"

    def all_are(status: str) -> Callable[[], bool]:
        return lambda: list(platform.states().values()) == [status] * number

    def reports(what: str, delays: list[float]) -> None:
        more = f"median {statistics.median(delays):.2f} s; looked at every 0.1 s"
        report.goal(f"  {what} → reported, 95 of 100", percentile(delays, 0.95), 0.5, " s", more=f"{more}, worst {delays[-1]:.2f} s")

    before, began, asked = used(), time.time(), time.monotonic()
    with platform.watching() as watching, engine.listen() as events:
        ids = [platform.deploy(f"Stub {n}", {"image": "bench/deaf:1"}) for n in range(number)]
        asking = time.time() - began
        until(running(number), "all run", 600, 0.5)
        spending = spent(before)
        until(all_are("started"), "all are reported", 60)
    first, last = began, max(at for at, _ in times())
    best = min(raw[key] for key in ("1", "4", "8"))
    ratio = f"{(last - began) / best:.2f} × the engine alone, {(last - began) / raw['cli']:.2f} × docker run"
    report.goal(f"{number} from nothing to running", last - began, UPSTREAM[0] / 2 * number / 100, " s", more=ratio)
    report.note("  of it until the platform had accepted all", f"{asking:.1f} s", asking)
    report.note("  against upstream's composer with 100", f"{(last - began) / UPSTREAM[0]:.2f} to {(last - began) / UPSTREAM[1]:.2f} ×")
    reports("started", watching.after(events.when("start"), "started"))
    report.note("  used", spending, spending)
    report.note("  asked", str(dict(platform.proxy.since(asked))))

    def complete() -> bool:
        told = platform.told()
        return all(each["manager_health_metrics"] and each["manager_connector_logs"] for each in told) and len(told) == number

    until(complete, "health and log of all", 120, 0.5)
    report.goal("  health and log of all are there after", time.time() - last, 30, " s")

    section(report, f"  idle for {given.idle} s")
    time.sleep(10)
    before, asked = used(), time.monotonic()
    time.sleep(given.idle)
    counted = platform.proxy.since(asked)
    report.goal("requests to the platform a second", counted.total() / given.idle, 1, more=str(dict(counted)))
    report.note("used", spent(before), spent(before))
    report.note("memory of the composer", f"{resident(platform.composer):.1f} MiB", resident(platform.composer))

    section(report, "  stopped and started again")
    before, began = used(), time.time()
    with platform.watching() as watching, engine.listen() as events:
        for each in ids:
            platform.request(each, "stopping")
        until(running(0), "none runs", 600, 0.25)
        until(all_are("stopped"), "all are reported", 60)
    took = max(events.when("die").values()) - began
    report.goal(f"{number} stopped, each killed after its 10 s", took, 20, " s", more=f"{took / raw['stop']:.2f} × the engine alone")
    reports("ended", watching.after(events.when("die"), "stopped"))
    report.note("  used", spent(before), spent(before))
    before, began = used(), time.time()
    for each in ids:
        platform.request(each, "starting")
    until(running(number), "all run again", 600, 0.5)
    took = max(at for at, _ in times()) - began
    report.note(f"{number} started again", f"{took:.1f} s; {spent(before)}", took)
    engine.remove_all(label)
    began = time.monotonic()
    engine.run_many("after", "bench/deaf:1", number, 8)
    after = time.monotonic() - began
    middle = (after + raw["8"]) / 2
    report.note("Engine API, 8 at a time, once more", f"{after:.1f} s; managed: {(last - first) / middle:.2f} × the mean of before and after", after)


# --- memory -------------------------------------------------------------------------------------------------------------------------


def memory(given: argparse.Namespace, report: Report, directory: Path) -> None:
    """The server with and without a composer inside, in turns; each is started twice, so that its key is there the second time. Then the same with
    connectors: what is deployed stays in the data, whether or not a composer looks after it."""
    section(report, "Memory of the composer inside")
    found: dict[str, list[float]] = {"true": [], "false": []}
    for turn in range(3):
        for enabled, figures in found.items():
            figures += [resting(given, directory / f"{enabled}-{turn}", enabled) for _ in range(2)]
    for start, name in enumerate(("first start, with the key being made", "later start")):
        with_it, without = (statistics.median(found[enabled][start::2]) for enabled in ("true", "false"))
        report.goal(f"added, {name}", with_it - without, 10, " MiB", more=f"{without:.1f} → {with_it:.1f}, medians of 3")
    number = given.connectors
    with Managed(given.binary, directory / "busy") as platform:
        for n in range(number):
            platform.deploy(f"Sleep {n}", {"command": ["/bin/sleep", "1000000"]})
        until(lambda: list(platform.states().values()) == ["started"] * number, "all are reported")
        data = platform.server.directory
    with_it, without = (resting(given, data, enabled) for enabled in ("true", "false"))
    report.goal(f"added, looking after {number} processes", with_it - without, 10, " MiB", more=f"{without:.1f} → {with_it:.1f}")


def resting(given: argparse.Namespace, directory: Path, enabled: str) -> float:
    """MiB that the server has in memory a while after it was started on this directory."""
    directory.mkdir(exist_ok=True)
    settings = {"ENABLED": enabled, "DOCKER": "off", "COMMANDS": "any", "CONNECTOR_URL": NOWHERE}
    server = Server(given.binary, directory, {f"FERROCTI_COMPOSER_{key}": value for key, value in settings.items()})
    server.start()
    try:
        key = server.data_dir / "composer" / "key.pem"
        until(lambda: enabled == "false" or key.exists(), "its key is there", 120)
        time.sleep(15)
        return server.memory()["resident"]
    finally:
        server.stop()


# --- unmodified connectors ----------------------------------------------------------------------------------------------------------


def connectors(given: argparse.Namespace, report: Report, directory: Path) -> None:
    number = given.connectors
    bundle = directory / "bundle.json"
    bundle.write_text(json.dumps(BUNDLE))
    section(report, f"{number} unmodified connectors, started by hand all at once, no composer")
    raw = raw_connectors(given, report, directory, bundle)
    section(report, f"{number} unmodified connectors, managed, the composer as an agent")
    launch = {"command": [str(PYTHON), "-u", str(CONNECTOR)]}
    environment = {"TEST_BUNDLES": str(bundle), "CONNECTOR_LOG_LEVEL": "info", "PYTHONDONTWRITEBYTECODE": "1"}
    with Managed(given.binary, directory / "platform", agent=True) as platform:
        used, began = cpu(platform.composer), time.monotonic()
        for n in range(number):
            platform.deploy(f"Import {n}", launch, environment=environment)
        asking = time.monotonic() - began

        def fine() -> bool:
            told = platform.told()
            return sum(each["manager_state"] == "running" and each["health"]["level"] == "green" for each in told) == number

        until(lambda: len(marked()) >= number, "all are started", 600, 0.1)
        report.note("all processes started", f"{time.monotonic() - began:.1f} s; accepted by the platform after {asking:.1f} s")
        until(fine, "all run and are healthy", 900, 0.5)
        took = time.monotonic() - began
        report.note("all running and healthy", f"{took:.1f} s, {took / raw:.2f} × by hand", took)
        report.note("  composer's CPU until then", f"{cpu(platform.composer) - used:.1f} s", cpu(platform.composer) - used)
        time.sleep(20)
        pids = [pid for pid in marked() if pid != platform.composer]
        used, theirs, began = cpu(platform.composer), cpu(*pids), time.monotonic()
        time.sleep(given.idle)
        asked = platform.proxy.since(began)
        report.goal("requests of the composer a second, idle", asked.total() / given.idle, 1, more=str(dict(asked)))
        mine, theirs = (cpu(platform.composer) - used) / given.idle, (cpu(*pids) - theirs) / given.idle
        report.note("  CPU, idle", f"composer {mine * 100:.2f} % of a core, the connectors {theirs * 100:.1f} %", mine)
        report.note("  memory of the composer", f"{resident(platform.composer):.1f} MiB", resident(platform.composer))
        killed = sorted(pids)[: max(1, number // 5)]
        began = time.monotonic()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(marked()) - set(pids)) == len(killed), "those that were killed run again", 120, 0.05)
        report.note(f"{len(killed)} killed by hand → processes again (wait 1 s)", f"{time.monotonic() - began:.1f} s")
        began = time.monotonic()
        until(fine, "all run and are healthy again", 300, 0.5)
        report.note("  all running and healthy again after", f"{time.monotonic() - began:.1f} s more")
        stopped, began = [each for each in platform.states()], time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            list(pool.map(lambda each: platform.request(each, "stopping"), stopped))
        until(lambda: not [pid for pid in marked() if pid != platform.composer], "none runs", 120, 0.1)
        report.goal(f"{number} stopped", time.monotonic() - began, 20, " s")


def raw_connectors(given: argparse.Namespace, report: Report, directory: Path, bundle: Path) -> float:
    """Seconds until all have registered when nobody looks after them."""
    key, _, value = MARK.partition("=")
    children = []
    server = Server(given.binary, directory / "raw", {"FERROCTI_COMPOSER_ENABLED": "false"})
    server.directory.mkdir()
    server.start()
    try:
        api = server.client()
        began = time.monotonic()
        with (directory / "raw.log").open("ab") as log:
            for n in range(given.connectors):
                own = {
                    "OPENCTI_URL": f"http://127.0.0.1:{server.port}", "OPENCTI_TOKEN": server.token, "CONNECTOR_ID": str(uuid.uuid4()),
                    "CONNECTOR_NAME": f"Raw {n}", "CONNECTOR_TYPE": "EXTERNAL_IMPORT", "CONNECTOR_SCOPE": "stix2", "CONNECTOR_LOG_LEVEL": "info",
                    "TEST_BUNDLES": str(bundle), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", key: value,
                }  # fmt: skip
                children.append(subprocess.Popen([str(PYTHON), "-u", str(CONNECTOR)], env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        query = "query Active { connectors { id active connector_state } }"

        def registered() -> bool:
            found = api.run(query)["connectors"]
            return sum(bool(each["active"] and each["connector_state"]) for each in found) >= given.connectors

        until(registered, "all have registered and done their first run", 900, 0.5)
        took = time.monotonic() - began
        report.note("all have registered and done their first run", f"{took:.1f} s", took)
        return took
    finally:
        for child in children:
            child.kill()
            child.wait()
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
