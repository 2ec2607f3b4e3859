"""Where a peer's processes find their store. Told by environment, for nothing else reaches every worker."""

from __future__ import annotations

import os

STORE = os.environ["BENCH_STORE"]  #: redis://…, postgresql://… or the path of a file
