"""pycti's own import of messages of one object each, as the upstream worker does it: worker_path.py URL BUNDLE_FILE. Prints seconds and objects.

Runs in a pycti environment. The splitting, which connectors do, is not timed.
"""

import base64
import json
import logging
import sys
import time

logging.disable(logging.CRITICAL)
from pycti import OpenCTIApiClient  # noqa: E402
from pycti.utils.opencti_stix2_splitter import OpenCTIStix2Splitter  # noqa: E402

url, path = sys.argv[1:3]
with open(path, encoding="utf-8") as file:
    _, _, parts = OpenCTIStix2Splitter().split_bundle_with_expectations(file.read())
messages = [json.dumps({"applicant_id": "a", "work_id": "work_x", "content": base64.b64encode(part.encode()).decode()}) for part in parts]
api = OpenCTIApiClient(url, "6f1b1c1e-7d49-4a53-9d2e-0d6f9f3f0a12", log_level="error", perform_health_check=False)
began, cpu = time.perf_counter(), time.process_time()
for text in messages:
    message = json.loads(text)
    api.set_applicant_id_header(message["applicant_id"])
    api.set_work_id(message["work_id"])
    imported, failed = api.stix2.import_bundle_from_json(base64.b64decode(message["content"]).decode(), False, None, message["work_id"], 0)
    if len(imported) != 1 or failed:
        sys.exit(f"not imported: {failed}")
print(json.dumps({"objects": len(messages), "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}))
