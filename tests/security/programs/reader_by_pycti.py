"""What a user finds with pycti: by id, by list, by search. Reads OPENCTI_URL, OPENCTI_TOKEN, TEST_IDS, TEST_PREFIX; prints ids as JSON."""

import json
import os
import sys

from pycti import OpenCTIApiClient


def main():
    api = OpenCTIApiClient(os.environ["OPENCTI_URL"], os.environ["OPENCTI_TOKEN"], log_level="error")
    wanted = json.loads(os.environ["TEST_IDS"])
    read = [identifier for identifier in wanted if api.stix_domain_object.read(id=identifier) is not None]
    listed = [entry["id"] for entry in api.malware.list(getAll=True)]
    found = [entry["id"] for entry in api.stix_domain_object.list(search=os.environ["TEST_PREFIX"], getAll=True)]
    json.dump({"read": read, "listed": listed, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
