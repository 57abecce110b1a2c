"""What an operator does for a new connector, with pycti alone: group, look at the role, user with a highest confidence, token.

Reads OPENCTI_URL, OPENCTI_TOKEN (the administrator's), TEST_PREFIX; prints what it made as JSON.
"""

import json
import os
import sys
from importlib.metadata import version

from pycti import OpenCTIApiClient

PYCTI = tuple(int(part) for part in version("pycti").split("."))
PREFIX = os.environ["TEST_PREFIX"]


def main():
    api = OpenCTIApiClient(os.environ["OPENCTI_URL"], os.environ["OPENCTI_TOKEN"], log_level="error")
    role = next(entry for entry in api.role.list() if entry["name"] == "Connector")
    capabilities = {entry["name"] for entry in api.role.read(id=role["id"])["capabilities"]}
    amber = next(entry for entry in api.marking_definition.list(first=100) if entry["definition"] == "TLP:AMBER")
    group = api.group.create(
        name=f"{PREFIX} feeds", description="feeds without TLP:RED", group_confidence_level={"max_confidence": 100, "overrides": []}
    )
    api.group.add_role(id=group["id"], role_id=role["id"])
    api.group.add_allowed_marking(id=group["id"], marking_id=amber["id"])
    group = api.group.read(id=group["id"])
    user = api.user.create(
        name=f"{PREFIX} wazuh",
        user_email=f"{PREFIX}@example.org",
        groups=[group["id"]],
        user_confidence_level={"max_confidence": 75, "overrides": []},
    )
    user = api.user.read(id=user["id"])
    if PYCTI >= (7,):
        token = api.user.create_token(user_id=user["id"], token_name="connector", token_duration="UNLIMITED")["plaintext_token"]
    else:
        token = api.user.token_renew(id=user["id"], include_token=True)["api_token"]
    json.dump(
        {
            "capabilities": sorted(capabilities),
            "markings": [entry["definition"] for entry in group["allowed_marking"]],
            "roles": [entry["name"] for entry in group["roles"]],
            "groups": [entry["name"] for entry in user["groups"]],
            "level": user["effective_confidence_level"],
            "user": user["id"],
            "email": user["user_email"],
            "token": token,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
