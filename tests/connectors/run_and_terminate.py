"""A connector that runs once and ends (CONNECTOR_RUN_AND_TERMINATE), as one started by cron does."""

from common import bundles, emit, initiate_work
from pycti import OpenCTIConnectorHelper


class OneShot:
    def __init__(self):
        self.helper = OpenCTIConnectorHelper({})
        emit("registered", state=self.helper.get_state())

    def run(self):
        state = self.helper.get_state() or {"runs": 0}
        work_id = initiate_work(self.helper, "One shot", is_multipart=True)
        for bundle in bundles():
            self.helper.send_stix2_bundle(bundle, work_id=work_id, update=True)
        self.helper.set_state({"runs": state["runs"] + 1})
        self.helper.api.work.to_processed(work_id, "One shot done")
        emit("run", work_id=work_id)


if __name__ == "__main__":
    connector = OneShot()
    connector.helper.schedule_process(connector.run, 3600)
