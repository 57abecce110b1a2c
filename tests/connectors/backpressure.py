"""A publisher whose queue is full: the client is refused, waits and tries again until there is room."""

from common import bundles, emit, initiate_work, wait_for_word
from pycti import OpenCTIConnectorHelper

if __name__ == "__main__":
    helper = OpenCTIConnectorHelper({})
    emit("registered")
    wait_for_word()  # the test has filled the queue
    work_id = initiate_work(helper, "Too much at once")
    for number, bundle in enumerate(bundles(), start=1):
        helper.send_stix2_bundle(bundle, work_id=work_id)
        emit("sent", number=number, buffering=helper.connector_info.buffering)
    helper.api.work.to_processed(work_id, "all sent")
    emit("run", work_id=work_id)
    helper.ping.stop()
