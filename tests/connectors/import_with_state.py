"""An import connector as most are: reads its state, sends bundles under a work, keeps the new state, repeats on a schedule.

TEST_BUNDLES: files to send in each run. CONNECTOR_DURATION_PERIOD: ISO 8601 pause between runs. TEST_PAUSE: wait for the test's word
between reading the state and keeping the new one.
"""

import json
import os

from common import bundles, emit, initiate_work, wait_for_word
from pycti import OpenCTIConnectorHelper


class ImportConnector:
    def __init__(self):
        self.helper = OpenCTIConnectorHelper({})
        emit("registered", state=self.helper.get_state(), connector_id=self.helper.connect_id, config=self.helper.connector_config)

    def run(self):
        state = self.helper.get_state()
        runs = state["runs"] if state else 0
        emit("started", state=state)
        if os.environ.get("TEST_PAUSE"):
            wait_for_word()
        work_id = initiate_work(self.helper, f"Run {runs + 1}")
        sent = 0
        for bundle in bundles():
            sent += len(self.helper.send_stix2_bundle(bundle, work_id=work_id))
        state = {"runs": runs + 1, "last_run": "2024-05-06T07:08:09+00:00", "cursor": {"page": 3, "mark": "é\u2028\"\\"}, "share": 0.1}
        self.helper.set_state(state)
        self.helper.api.work.to_processed(work_id, f"Run {runs + 1} done")
        self.helper.force_ping()
        emit("run", work_id=work_id, sent=sent, state=json.dumps(state))


if __name__ == "__main__":
    connector = ImportConnector()
    connector.helper.schedule_iso(connector.run, os.environ.get("CONNECTOR_DURATION_PERIOD", "PT1H"))
