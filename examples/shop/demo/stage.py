"""The stage: the dispatcher with the shop in one process, the warehouse in another, all state in one folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from demo.programs import Program, clean_environ, free_port

SHOP = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


class Stage:
    """The processes and their addresses."""

    def __init__(self, folder: Path) -> None:
        self.app_port, self.health_port, self.warehouse_port = free_port(), free_port(), free_port()
        self.store = f"sqlite:///{folder}/ap4r.db"
        self.shop_db = folder / "shop.db"
        self.warehouse_ledger = folder / "warehouse.jsonl"
        environ = clean_environ() | {
            "SHOP_DB": str(self.shop_db),
            "WAREHOUSE_URL": f"http://127.0.0.1:{self.warehouse_port}",
            "PYTHONUNBUFFERED": "1",
            # The demo's dispatcher retries sooner than yours should, and logs more.
            "AP4R_STORE": self.store,
            "AP4R_CONFIG": str(folder / "ap4r.toml"),
            "AP4R_LISTEN": f"tcp:{self.health_port}:interface=127.0.0.1",
            "AP4R_BACKOFF_FIRST_SECONDS": "2",
            "AP4R_GRACE_SECONDS": "5",
            "AP4R_LOG_FORMAT": "json",
            "AP4R_LOG_LEVEL": "debug",
        }
        self._environ = environ
        twistd = [str(BIN / "twistd"), "-n", "ap4r", "--app", "shop:application"]
        twistd += ["--app-listen", f"tcp:{self.app_port}:interface=127.0.0.1"]
        self.dispatcher = Program(twistd, SHOP, environ, folder / "dispatcher.log")
        python = [sys.executable, "warehouse.py", str(self.warehouse_port), str(self.warehouse_ledger)]
        self.warehouse = Program(python, SHOP, environ, folder / "warehouse.log")

    def start(self) -> None:
        """Create a secret, start everything and wait until it answers.

        :raises subprocess.CalledProcessError: `ap4r init` could not write it.
        """
        # From here on only the dispatcher can call the shop's internal actions.
        subprocess.run([BIN / "ap4r", "init"], env=self._environ, stdout=subprocess.DEVNULL, check=True)
        self.dispatcher.start(f"http://127.0.0.1:{self.health_port}/healthz")
        self.start_warehouse()

    def start_warehouse(self) -> None:
        """Start the warehouse, again if needed."""
        self.warehouse.start(f"http://127.0.0.1:{self.warehouse_port}/")

    def stop(self) -> int | None:
        """End everything; return the dispatcher's exit code, None if it was ended before."""
        self.warehouse.stop()
        return self.dispatcher.stop()

    def ask(self, command: str) -> Any:
        """Run `ap4r status` or `ap4r dead` as an operator would, and return its output.

        :raises subprocess.CalledProcessError: it could not read the store.
        """
        done = subprocess.run(
            [BIN / "ap4r", command, "--json"], env=self._environ, stdout=subprocess.PIPE, text=True, check=False
        )
        # 1 means that something needs a person; the output names it.
        if done.returncode > 1:
            done.check_returncode()
        return json.loads(done.stdout)

    def directions(self) -> list[str]:
        """Print where to look further."""
        return [
            f"  the shop      http://127.0.0.1:{self.app_port}/",
            f"  its health    http://127.0.0.1:{self.health_port}/healthz",
            f"  its log       {self.dispatcher.log}",
            f"  the store     export AP4R_STORE={self.store} AP4R_CONFIG={self._environ['AP4R_CONFIG']}",
            "                .venv/bin/ap4r status  (or: dead, replay --all, doctor)",
            "  to read       examples/shop/shop.py, docs/handlers.md, docs/guarantees.md",
        ]
