"""A server for each module and kind, with a file in the place of the store."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.support.processes import Processes, free_port
from tests.support.servers import SERVERS, is_installed, start_server
from tests.support.sink import FileSink

_numbers = itertools.count()


class Served:
    """A running server and the sink of its applications."""

    def __init__(self, name, port, sink, process):
        self.name = name
        self.port = port
        self.sink = sink
        self.process = process

    def request(self, kind, *, messages=1, mount="kept", **more):
        """Create the path of a request, with a name that no other has."""
        name = f"{kind}-{next(_numbers)}"
        extra = "".join(f"&{key}={value}" for key, value in more.items())
        return name, f"/{mount}/{kind}?messages={messages}&request={name}{extra}"


@pytest.fixture(scope="module", params=list(SERVERS))
def served(request, tmp_path_factory):
    """Each server in turn, serving `tests.support.apps`."""
    name = request.param
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    folder: Path = tmp_path_factory.mktemp(name)
    sink = FileSink(folder / "puts.jsonl")
    port = free_port()
    with Processes(folder) as processes:
        process = start_server(
            processes, name, port, "tests.support.apps:served", TESTS_SINK=str(folder / "puts.jsonl")
        )
        yield Served(name, port, sink, process)
