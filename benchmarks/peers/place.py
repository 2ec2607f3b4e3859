"""The store of a peer's processes, and the work that they are set up for.

Told by environment, for nothing else reaches every worker.
"""

from __future__ import annotations

import os

#: What a task is given: the URL, a number, and where the work has them a body and the name of a queue.
Call = tuple[str, int] | tuple[str, int, str] | tuple[str, int, str, str]

STORE = os.environ["BENCH_STORE"]  #: redis://…, postgresql://… or the path of a file
IN_FLIGHT = int(os.environ.get("BENCH_IN_FLIGHT", "0"))  #: calls at once, of both processes; 0: as many as is usual
BODY_BYTES = int(os.environ.get("BENCH_BODY_BYTES", "0"))  #: 0: a form of 15
QUEUES = int(os.environ.get("BENCH_QUEUES", "0"))  #: names in turn; 0: the usual one
