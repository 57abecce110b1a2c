"""Ends at once with a reason in its log and the exit status of one that is well: statuses of connectors prove nothing."""

import sys

print("starting", file=sys.stderr, flush=True)
print("FATAL: the remote service says 401 Unauthorized", file=sys.stderr, flush=True)
sys.exit(0)
