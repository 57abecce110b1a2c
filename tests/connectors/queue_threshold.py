"""A scheduled connector that pauses while its queue holds more than CONNECTOR_QUEUE_THRESHOLD megabytes."""

from common import emit
from pycti import OpenCTIConnectorHelper


class Thresholded:
    def __init__(self):
        self.helper = OpenCTIConnectorHelper({})
        self.runs = 0
        # after every look at the queue, tell what was seen
        self.check = self.helper.check_connector_buffering
        self.helper.check_connector_buffering = self.checked
        emit("registered")

    def checked(self):
        buffering = self.check()
        self.helper.force_ping()
        emit("checked", buffering=buffering, size=self.helper.connector_info.queue_messages_size)
        return buffering

    def run(self):
        self.runs += 1
        emit("run", runs=self.runs)


if __name__ == "__main__":
    connector = Thresholded()
    connector.helper.schedule_process(connector.run, 0.2)
