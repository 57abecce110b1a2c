"""A connector whose state is reset, or forgotten by the client itself, while it runs.

TEST_CASE:
  reset-during-run   keeps a new state after the operator asked for a reset during the run
  client-wipe        loses its state in memory the way the client's ping loop does when it is handed a differing state as text
"""

import json
import os

from common import emit, initiate_work, wait_for_word
from pycti import OpenCTIConnectorHelper

if __name__ == "__main__":
    helper = OpenCTIConnectorHelper({})
    emit("registered", state=helper.get_state())
    if os.environ["TEST_CASE"] == "reset-during-run":
        work_id = initiate_work(helper, "Long run")
        helper.set_state({"cursor": 1})
        helper.force_ping()
        emit("running", work_id=work_id)
        wait_for_word()  # the operator resets the state now
        helper.set_state({"cursor": 2})
        helper.api.work.to_processed(work_id, "done")
        helper.force_ping()
        emit("kept", state=helper.get_state())
    else:
        helper.set_state({"cursor": 41})
        helper.force_ping()
        emit("kept", state=helper.get_state())
        wait_for_word()
        helper.set_state(json.dumps({"cursor": 42}))  # text instead of a dictionary: the local state becomes None
        helper.force_ping()
        helper.force_ping()
        emit("wiped", state=helper.get_state())
    wait_for_word()
    helper.ping.stop()
