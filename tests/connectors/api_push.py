"""A connector that sends its bundles through the API instead of the queue (CONNECTOR_QUEUE_PROTOCOL=api; QUEUE_PROTOCOL in 6.x).

It says that the work is processed at once after the push, before the platform can have looked at the bundle.
"""

import os

from common import bundles, emit, initiate_work
from pycti import OpenCTIConnectorHelper

if __name__ == "__main__":
    helper = OpenCTIConnectorHelper({})
    emit("registered", protocol=helper.queue_protocol)
    with_work = os.environ.get("TEST_WITHOUT_WORK") is None
    work_id = initiate_work(helper, "API push") if with_work else None
    for bundle in bundles():
        if with_work:
            helper.send_stix2_bundle(bundle, work_id=work_id)
        else:
            helper.send_stix2_bundle(bundle)
    if with_work:
        helper.api.work.to_processed(work_id, "API push done")
    helper.force_ping()
    emit("run", work_id=work_id)
    helper.ping.stop()
