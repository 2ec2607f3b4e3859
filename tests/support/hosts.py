"""Hosts of the tests' own: network namespaces that share a switch and reach nothing else. Made by root only."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from types import TracebackType

import pytest

from tests.support.databases import MariaDB, require

_numbers = itertools.count(1)


class Hosts:
    """Namespaces by name, each with an address of its own in 10.77.0.0/24 and a loopback interface."""

    def __init__(self, *names: str) -> None:
        self._ip = require(shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin"), "iproute2")
        if os.getuid() != 0:
            pytest.skip("network namespaces are made by root only")
        self._switch = f"ap4r-{os.getpid()}-{next(_numbers)}"
        self.names = names
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}

    def __enter__(self) -> Hosts:
        try:
            self._run("netns", "add", self._switch)
            self._within(self._switch, "link", "add", "switch", "type", "bridge")
            self._within(self._switch, "link", "set", "switch", "up")
            for name in self.names:
                self._plug_in(name)
        except subprocess.CalledProcessError as error:
            self._remove()
            pytest.skip(f"no network namespaces here: {error.stderr.decode(errors='replace').strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove()

    def on(self, name: str) -> list[str]:
        """Return what makes a command run on a host."""
        return [self._ip, "netns", "exec", self._space(name)]

    def _plug_in(self, name: str) -> None:
        space = self._space(name)
        self._run("netns", "add", space)
        self._within(space, "link", "set", "lo", "up")
        self._within(space, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", self._switch)
        self._within(space, "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
        self._within(space, "link", "set", "eth0", "up")
        self._within(self._switch, "link", "set", name, "master", "switch", "up")

    def _space(self, name: str) -> str:
        return f"{self._switch}-{name}"

    def _within(self, space: str, *command: str) -> None:
        self._run("-n", space, *command)

    def _run(self, *command: str) -> None:
        subprocess.run([self._ip, *command], check=True, capture_output=True)

    def _remove(self) -> None:
        for space in (*map(self._space, self.names), self._switch):
            subprocess.run([self._ip, "netns", "delete", space], check=False, capture_output=True)


class DistantMariaDB(MariaDB):
    """A MariaDB on a host of its own; the test reaches it through the socket's path."""

    def __init__(self, hosts: Hosts, name: str) -> None:
        super().__init__()
        self._hosts, self._name = hosts, name

    def _command(self) -> list[str]:
        own = [part for part in super()._command() if not part.startswith("--bind-address")]
        return [*self._hosts.on(self._name), *own, f"--bind-address={self._hosts.addresses[self._name]}"]

    def _connect(self, user: str, database: str | None = None) -> object:
        import pymysql

        if not (self.folder / "s").exists():
            # PyMySQL leaves the socket of such an attempt open.
            raise FileNotFoundError(self.folder / "s")
        return pymysql.connect(unix_socket=f"{self.folder}/s", user="root", database=database, autocommit=True)

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the URL as other hosts need it."""
        return super().url(database, port=port).replace("127.0.0.1", self._hosts.addresses[self._name])
