"""Writes its environment and its directory to the file TELL_TO, then stays without ever asking the platform."""

import json
import os
import signal
import sys
from pathlib import Path

path = Path(os.environ["TELL_TO"])
path.touch(mode=0o600)
path.write_text(json.dumps({"environment": dict(os.environ), "directory": os.getcwd(), "pid": os.getpid(), "prefix": sys.prefix}))
print("told", flush=True)
signal.pause()
