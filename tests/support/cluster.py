"""A Galera cluster of three MariaDB servers on one loopback, of the tests' own."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.databases import PASSWORD, USER, MariaDB, require
from tests.support.probe import wait_until
from tests.support.processes import free_port

_LIBRARIES = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
_JOIN_SECONDS = 90.0
#: So that a node which is lost is noticed within seconds here, but none that only waits for a processor for a while.
_QUICK = "evs.keepalive_period=PT1S;evs.suspect_timeout=PT4S;evs.inactive_timeout=PT8S;evs.install_timeout=PT8S"


class Node(MariaDB):
    """One server of the cluster."""

    def __init__(self, number: int, group_ports: list[int]) -> None:
        library = require(next((path for path in _LIBRARIES if Path(path).exists()), None), "galera-4")
        require(shutil.which("rsync"), "rsync")
        super().__init__()
        self.number = number
        own = group_ports[number]
        self.options = (
            "--wsrep-on=ON",
            f"--wsrep-provider={library}",
            "--wsrep-cluster-name=ap4r",
            f"--wsrep-node-name=node{number}",
            f"--wsrep-node-address=127.0.0.1:{own}",
            f"--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{own};"
            f"ist.recv_addr=127.0.0.1:{free_port()};gcache.size=32M;{_QUICK}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
        )
        self._others = "gcomm://" + ",".join(f"127.0.0.1:{port}" for port in group_ports if port != own)

    def join(self, *, first: bool = False) -> None:
        """Start, and wait until it is a member that works; the first one makes the cluster."""
        self.launch("--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://") if first else self.launch(
            f"--wsrep-cluster-address={self._others}"
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it is a member that works."""
        wait_until(
            self.is_ready,
            f"node {self.number} is a working member",
            timeout_seconds=_JOIN_SECONDS,
            every_seconds=0.2,
            otherwise=lambda: self.log()[-3_000:],
        )

    def is_ready(self) -> bool:
        """Return whether it is a working member."""
        try:
            found: dict[str, Any] = dict(self.execute("SHOW STATUS LIKE 'wsrep_%'"))  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001
            return False
        return found.get("wsrep_ready") == "ON" and found.get("wsrep_local_state_comment") == "Synced"

    def status(self, name: str) -> str:
        """Return one figure of the server's."""
        return str(self.execute(f"SHOW STATUS LIKE '{name}'")[0][1])

    def cut_off(self, cut: bool) -> None:
        """Cut it off from the others, or connect it again. It answers either way."""
        self.execute(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={int(cut)}'")


class Cluster:
    """Three nodes that hold the same."""

    def __init__(self) -> None:
        ports = [free_port() for _ in range(3)]
        self.nodes = [Node(number, ports) for number in range(3)]

    def __enter__(self) -> Cluster:
        try:
            for node in self.nodes:
                node.join(first=node.number == 0)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """End the nodes and delete their data."""
        for node in self.nodes:
            node.remove()

    def make(self, database: str) -> None:
        """Create an empty database on all nodes."""
        self.nodes[0].make(database)

    def execute(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as root on a node that is a working member."""
        node = next((node for node in self.nodes if node.is_ready()), self.nodes[0])
        return node.execute(statement, database)

    def url(self, database: str, first: int) -> str:
        """Return a URL of all nodes, the one of that number to be tried first."""
        turned = self.nodes[first:] + self.nodes[:first]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in turned)
        return f"mysql+pymysql://{USER}:{PASSWORD}@{hosts}/{database}"

    def kill(self, number: int) -> None:
        """End a node with SIGKILL, and wait until the others have noticed."""
        self.nodes[number].stop(signal.SIGKILL)
        others = [node for node in self.nodes if node.number != number]
        wait_until(
            lambda: all(node.is_ready() and node.status("wsrep_cluster_size") == "2" for node in others),
            "the others go on by themselves",
            timeout_seconds=_JOIN_SECONDS,
            every_seconds=0.2,
        )

    def conflicts(self) -> int:
        """Count the transactions that were undone because of another node's."""
        names = ("wsrep_local_cert_failures", "wsrep_local_bf_aborts")
        return sum(int(node.status(name)) for node in self.nodes for name in names if node.answers())
