"""Open the bank: a secret, the settings of the dispatcher, and the tables of both databases. Run it once.

ORDERS_DB, LEDGER_DB     the two databases (sqlite:///orders.db, sqlite:///ledger.db)
ORDERS_URL, LEDGER_URL   where the two applications answer (http://127.0.0.1:8001, http://127.0.0.1:8002)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import create_engine, text

ACCOUNTS = range(1, 21)
CENTS = 1_000_000  #: on each account at first
TABLES = {
    "ORDERS_DB": [
        "CREATE TABLE orders (number VARCHAR(64) PRIMARY KEY, payer INTEGER NOT NULL, payee INTEGER NOT NULL,"
        " cents INTEGER NOT NULL, confirmed INTEGER NOT NULL)",
    ],
    "LEDGER_DB": [
        "CREATE TABLE accounts (number INTEGER PRIMARY KEY, cents INTEGER NOT NULL)",
        # Without a unique key, because the inbox, and not a constraint, makes each order be booked once.
        "CREATE TABLE bookings (number VARCHAR(64) NOT NULL, payer INTEGER NOT NULL, payee INTEGER NOT NULL,"
        " cents INTEGER NOT NULL)",
        *(f"INSERT INTO accounts VALUES ({number}, {CENTS})" for number in ACCOUNTS),
    ],
}


def ap4r(*arguments: str) -> None:
    """Run the command `ap4r`."""
    subprocess.run([sys.executable, "-m", "ap4r.cli.__main__", *arguments], check=True)


def main() -> None:
    """Open the bank."""
    databases = {name: os.environ.get(name, f"sqlite:///{name[:6].lower()}.db") for name in TABLES}
    urls = [
        os.environ.get("ORDERS_URL", "http://127.0.0.1:8001"),
        os.environ.get("LEDGER_URL", "http://127.0.0.1:8002"),
    ]
    ap4r("init")
    settings = Path("ap4r.toml")
    secrets = json.dumps(tomllib.loads(settings.read_text())["secrets"])
    with settings.open("a") as file:
        file.write(f"\nstores = {json.dumps(list(databases.values()))}\n")
        for url in urls:
            # Both are called by absolute URLs, so each needs the secret.
            file.write(f"\n[hosts.{json.dumps(urlsplit(url).netloc)}]\nsecrets = {secrets}\n")
    for name, database in databases.items():
        ap4r("migrate", "--store", database)
        engine = create_engine(database)
        with engine.begin() as connection:
            for statement in TABLES[name]:
                connection.execute(text(statement))
        engine.dispose()


if __name__ == "__main__":
    main()
