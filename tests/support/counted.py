"""Run a program of this Python with every SQL statement of its process written into a ledger.

`python -m tests.support.counted LEDGER PROGRAM ARGUMENT…`. SQLite itself tells them, BEGIN and COMMIT included.
"""

from __future__ import annotations

import runpy
import sqlite3
import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.support.ledger import LedgerFile


def main() -> None:
    """Count, and be the program."""
    ledger = LedgerFile(Path(sys.argv[1]))

    def count(connection: sqlite3.Connection, _: object) -> None:
        connection.set_trace_callback(lambda statement: ledger.write("statement", text=statement[:200]))

    event.listen(Pool, "connect", count)
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
