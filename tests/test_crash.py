"""kill -9 at random moments while connectors publish and push: afterwards every confirmed message is accounted for exactly once.

CRASH_ROUNDS (default 6) and CRASH_SEED choose how many kills and which moments; `scripts/crash-test` runs many.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter

from harness import GraphQLError, api, run_cli, stix, wait_until
from harness.amqp import Publisher, message

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "6"))
SEED = int(os.environ.get("CRASH_SEED", "20240101"))
PUBLISHERS = 3
PUSHERS = 2


class Source:
    """One connector: sends bundles under works, one after the other, through crashes, until it is told to stop.

    Every bundle carries objects of its own and one that all of them share. What the platform has confirmed is in `confirmed`.
    """

    def __init__(self, platform, number: int, kind: str):
        self.platform, self.number, self.kind = platform, number, kind
        self.account = platform.add_connector_account(f"{kind} {number}")
        self.id = api.new_id()
        self.config = api.register(platform, self.account.token, self.id)["config"]
        self.sent = 0
        self.confirmed: list[dict] = []
        self.works: dict[str, int] = {}
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.send_bundle()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.failure = error

    def persist(self, call):
        """Repeats a call until it is answered: the server is killed again and again. An answer with errors is a failure."""
        while True:
            try:
                return call()
            except (GraphQLError, AssertionError):
                raise
            except Exception:  # noqa: BLE001 - refused or cut connection
                wait_until(self.answers, "the server is back", 120)

    def answers(self) -> bool:
        return bool(self.platform.post("query { about { version } }", token=self.account.token, timeout=5).ok)

    def next_objects(self) -> list[dict]:
        self.sent += 1
        objects = [stix.domain("intrusion-set", "crash shared set")]
        for part in range(30 if self.kind == "pusher" else 1):
            name = f"crash {self.kind} {self.number} {self.sent} {part}"
            malware, tool = stix.domain("malware", name, is_family=True), stix.domain("tool", f"{name} tool")
            objects += [malware, tool, stix.relationship("uses", malware, tool)]
        return objects

    def send_bundle(self) -> None:
        """A work, its expectation, then the messages or the push, then the end of the work.

        A call whose answer was cut off is repeated although the server may have done it: so each attempt uses a work of its own, and only
        works whose every step was answered are demanded to be exact.
        """
        objects = self.next_objects()
        if self.kind == "publisher":
            work_id = self.exact_work(lambda work_id: api.work_edit(self.platform, self.account.token, work_id, f"addExpectations(expectations: {len(objects)})"))
            for entry in objects:
                self.publish(entry, work_id)
            self.works[work_id] = len(objects)
        else:
            work_id = self.exact_work(lambda work_id: api.push(self.platform, self.account.token, self.id, stix.bundle(objects), work_id))
            self.works[work_id] = len(objects)
        self.confirmed += objects
        self.persist(lambda: api.work_edit(self.platform, self.account.token, work_id, 'toProcessed(message: "sent")'))

    def exact_work(self, step) -> str:
        """A work on which `step` was answered at the first attempt."""
        while True:
            work_id = self.persist(lambda: api.work_add(self.platform, self.account.token, self.id))
            try:
                step(work_id)
                return work_id
            except (GraphQLError, AssertionError):
                raise
            except Exception:  # noqa: BLE001 - cut off: whether it was done is not known, so another work is taken
                wait_until(self.answers, "the server is back", 120)

    def publish(self, entry: dict, work_id: str) -> None:
        """Publishes until confirmed.

        A publish whose confirm was cut off is sent again, as pycti's user would; the platform may then get it twice. Such a second copy
        has no work, so that the works stay countable, and the doubtful first one is cleared up by `doubtful`.
        """
        body = message(stix.bundle([entry]), work_id=work_id)
        try:
            with Publisher(self.platform, self.config) as publisher:
                publisher.publish(body)
            return
        except Exception:  # noqa: BLE001
            wait_until(self.answers, "the server is back", 120)
        self.persist(lambda: self.publish_again(stix.bundle([entry])))
        self.doubtful[work_id] += 1

    def publish_again(self, bundle: dict) -> None:
        with Publisher(self.platform, self.config) as publisher:
            publisher.publish(message(bundle))

    @property
    def doubtful(self) -> Counter:
        """By work: messages of which it is not known whether the platform had them durably when it was killed."""
        if not hasattr(self, "_doubtful"):
            self._doubtful = Counter()
        return self._doubtful


def test_nothing_confirmed_is_lost_or_doubled_by_kills_at_random_moments(make_platform, capsys):
    rng = random.Random(SEED)
    platform = make_platform().start()
    sources = [Source(platform, number, "publisher") for number in range(PUBLISHERS)] + [Source(platform, number, "pusher") for number in range(PUSHERS)]
    for source in sources:
        source.thread.start()
    for round_number in range(1, ROUNDS + 1):
        progress = sum(len(source.confirmed) for source in sources)
        wait_until(lambda: sum(len(source.confirmed) for source in sources) > progress or [s for s in sources if s.failure], "the sources make progress", 60)  # noqa: B023
        moment = time.monotonic() + rng.uniform(0.0, 0.6)
        wait_until(lambda: time.monotonic() >= moment, "the moment of the kill")  # noqa: B023
        platform.kill()
        platform.start(60)
        assert [source.failure for source in sources if source.failure] == [], f"round {round_number}"
    for source in sources:
        source.stop.set()
    for source in sources:
        source.thread.join(120)
        assert not source.thread.is_alive()
        assert source.failure is None
    for source in sources:
        api.queue_empty(platform, source.id, 120)

    confirmed = {entry["id"]: entry for source in sources for entry in source.confirmed}
    assert len(confirmed) > ROUNDS * len(sources)
    check_works(platform, sources)
    check_objects(platform, confirmed)
    assert api.dead_letters(platform) == []
    assert platform.graphql("query { parkedReferences(first: 10) { awaited } }")["parkedReferences"] == []
    assert platform.terminate() == 0
    checked = run_cli("check", "--data-dir", platform.data_dir, timeout=300)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with capsys.disabled():
        works = sum(len(source.works) for source in sources)
        doubts = sum(sum(source.doubtful.values()) for source in sources)
        print(f"\ncrash test: {ROUNDS} kills, {len(confirmed)} objects in {works} works confirmed, {doubts} publishes cut off; all accounted for")


def check_works(platform, sources) -> None:
    """expected = processed = what was sent; a work with a doubtful message may lack that one."""
    for source in sources:
        for work_id, number in source.works.items():
            doubts = source.doubtful[work_id]
            work = wait_until(lambda work_id=work_id: api.work(platform, work_id), "the work is there")
            assert work["errors"] == []
            expected, done = work["tracking"]["import_expected_number"], work["tracking"]["import_processed_number"]
            assert expected == number, work
            assert number - doubts <= done <= number, work
            if doubts == 0:
                assert (work["status"], done) == ("complete", number), work


def check_objects(platform, confirmed) -> None:
    """Each confirmed object is there, once."""
    names = Counter(api_names(platform))
    wanted = {entry["name"] for entry in confirmed.values() if "name" in entry}
    assert {name: count for name, count in names.items() if name in wanted and count != 1} == {}
    assert wanted - set(names) == set()
    stored = relationships(platform)
    assert {entry["id"] for entry in confirmed.values() if entry["type"] == "relationship"} - set(stored) == set()
    ends = Counter(stored.values())
    assert [pair for pair, count in ends.items() if count != 1] == [], "several relationships between the same two objects"
    assert api.count(platform, "stix-core-relationship") == len(ends)


def relationships(platform) -> dict[str, tuple[str, str]]:
    """All relationships: the id under which each was sent, and its ends."""
    query = """query All($after: ID) { stixCoreRelationships(first: 1000, after: $after) {
        edges { node { x_opencti_stix_ids from { ... on BasicObject { id } } to { ... on BasicObject { id } } } } pageInfo { hasNextPage endCursor } } }"""
    stored, after = {}, None
    while True:
        page = platform.graphql(query, {"after": after})["stixCoreRelationships"]
        for edge in page["edges"]:
            (sent_as,) = edge["node"]["x_opencti_stix_ids"]
            stored[sent_as] = (edge["node"]["from"]["id"], edge["node"]["to"]["id"])
        if not page["pageInfo"]["hasNextPage"]:
            return stored
        after = page["pageInfo"]["endCursor"]


def api_names(platform) -> list[str]:
    query = """query Names($filters: FilterGroup, $after: ID) { stixDomainObjects(filters: $filters, first: 1000, after: $after) {
        edges { node { representative { main } } } pageInfo { hasNextPage endCursor } } }"""
    group = {"mode": "and", "filters": [{"key": ["name"], "values": ["crash "], "operator": "starts_with", "mode": "or"}], "filterGroups": []}
    names, after = [], None
    while True:
        page = platform.graphql(query, {"filters": group, "after": after})["stixDomainObjects"]
        names += [edge["node"]["representative"]["main"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return names
        after = page["pageInfo"]["endCursor"]
