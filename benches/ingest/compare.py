"""Built-in ingestion against pycti's worker path, interleaved, medians; see README.md."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from harness import Platform, api, stix  # noqa: E402
from harness.amqp import Publisher, message  # noqa: E402
from harness.connector import python  # noqa: E402


def worker_path(url: str, bundle: dict, scratch: Path, version: str) -> float:
    """Objects per second of pycti against the stub."""
    path = scratch / "worker.json"
    path.write_text(json.dumps(bundle))
    done = subprocess.run([python(version), str(Path(__file__).with_name("worker_path.py")), url, str(path)], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    return result["objects"] / result["seconds"]


class Ours:
    """The platform with one connector; each delivery is timed from the first byte sent to the work's completion."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.account = platform.add_connector_account("bench")
        self.id = api.new_id()
        self.config = api.register(platform, self.account.token, self.id)["config"]

    def deliver(self, bundle: dict) -> float:
        """Objects per second of a whole bundle, handed in as one message over AMQP."""
        work_id = api.work_add(self.platform, self.account.token, self.id)
        body = message(bundle, work_id=work_id)
        number = len(bundle["objects"])
        with Publisher(self.platform, self.config) as publisher:
            began = time.perf_counter()
            publisher.publish(body)
            work = api.processed(self.platform, work_id, number, 600)
        seconds = time.perf_counter() - began
        if work["errors"] or work["tracking"]["import_expected_number"] != number:
            sys.exit(f"the ingestion is not exact: {json.dumps(work)[:1000]}")
        return number / seconds


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}–{max(values):,.0f}]"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--worker-objects", type=int, default=1500, help="objects of a round of the worker path")
    arguments.add_argument("--objects", type=int, default=20_000, help="objects of a round of our ingestion")
    arguments.add_argument("--client", default="7.260817.0", help="version of pycti")
    given = arguments.parse_args()
    stub = subprocess.Popen([sys.executable, str(Path(__file__).with_name("stub_api.py"))], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(stub.stdout.readline())}"
        worker, first, again = [], [], []
        with tempfile.TemporaryDirectory() as scratch, Platform(Path(scratch) / "platform") as platform:
            ours = Ours(platform)
            for number in range(given.rounds):
                worker.append(worker_path(url, stix.mixed_feed(number, given.worker_objects, "worker"), Path(scratch), given.client))
                feed = stix.mixed_feed(number, given.objects, "bench")
                first.append(ours.deliver(feed))
                again.append(ours.deliver(feed))
                print(f"round {number + 1}: worker path {worker[-1]:,.0f}/s, ours {first[-1]:,.0f}/s, re-sent {again[-1]:,.0f}/s", flush=True)
    finally:
        stub.kill()
    print(f"pycti {given.client} worker path, instant API   {spread(worker)} objects/s")
    print(f"built-in ingestion, first import             {spread(first)} objects/s   {statistics.median(first) / statistics.median(worker):.1f} times (goal 25)")
    print(f"built-in ingestion, the same feed again      {spread(again)} objects/s   {statistics.median(again) / statistics.median(worker):.1f} times")


if __name__ == "__main__":
    main()
