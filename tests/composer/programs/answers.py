"""A connector without any library: registers and pings, so that the platform hears of it within a moment. With ANSWER_TERM=ignore it ignores SIGTERM."""

import json
import os
import signal
import time
import urllib.request

if os.environ.get("ANSWER_TERM") == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def ask(query, variables):
    request = urllib.request.Request(
        os.environ["OPENCTI_URL"].rstrip("/") + "/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['OPENCTI_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    if answer.get("errors"):
        raise RuntimeError(answer["errors"][0]["message"])
    return answer["data"]


identity = os.environ["CONNECTOR_ID"]
registration = {"id": identity, "name": os.environ["CONNECTOR_NAME"], "type": os.environ["CONNECTOR_TYPE"], "scope": ["stix2"], "auto": False}
registered = False
while True:
    try:
        if not registered:
            ask("mutation Register($input: RegisterConnectorInput) { registerConnector(input: $input) { id } }", {"input": registration})
            print("registered", flush=True)
            registered = True
        ask("mutation Ping($id: ID!) { pingConnector(id: $id, state: null) { id } }", {"id": identity})
    except (OSError, RuntimeError, ValueError) as error:
        print(f"the platform does not answer: {error}", flush=True)
    time.sleep(2)
