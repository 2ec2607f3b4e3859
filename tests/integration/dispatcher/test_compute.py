"""Calls that take long run in processes with limits: WSDLs that never end, or need all memory, stop no other."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from functools import partial

import pytest

import ap4r
from ap4r.dispatcher.compute.child import LENGTH_BYTES, NotComputed, framed
from tests.integration.dispatcher.test_upstreams import configured, recorder  # noqa: F401 - a fixture
from tests.support.probe import wait_until
from tests.support.processes import HOST
from tests.support.wsdl import DONE, WSDL

PROGRAM = f"from ap4r.dispatcher.compute.child import main; main({512 * 1024 * 1024})"
DTD = (
    b'<!DOCTYPE schema PUBLIC "-//W3C//DTD XMLSchema 200102//EN" "http://192.0.2.1/XMLSchema.dtd" '
    b'[<!ENTITY ns "urn:k">]><x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="&ns;"/>'
)


@pytest.fixture
def child():
    """One process that computes; ended with the test."""
    started = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield started
    started.kill()
    started.communicate()


def ask(child, call, seconds=5.0):
    """Compute a call; return whether that succeeded, and the result."""
    child.stdin.write(framed((seconds, call)))
    child.stdin.flush()
    length = int.from_bytes(child.stdout.read(LENGTH_BYTES), "big")
    return pickle.loads(child.stdout.read(length))


def test_a_process_computes_one_call_after_another(child):
    """A failure is reported, and the next call is computed all the same; the dispatcher's signals are ignored."""
    assert ask(child, partial(sum, [1, 2])) == (True, 3)
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGINT)
    succeeded, problem = ask(child, partial(int, "x"))
    assert (succeeded, type(problem)) == (False, NotComputed)
    assert "invalid literal" in str(problem)
    succeeded, problem = ask(child, partial(bytearray, 1024**3))
    assert (succeeded, str(problem)) == (False, "it needs more memory than allowed")
    assert ask(child, partial(sum, [1, 2])) == (True, 3)


def test_a_process_ends_at_its_cpu_time_and_with_its_input(child):
    """The system ends it by itself, whatever becomes of the dispatcher."""
    child.stdin.write(framed((1.0, partial(eval, "[0 for _ in iter(int, 1)]"))))
    child.stdin.flush()
    assert child.wait(60) == -signal.SIGXCPU


def bomb(depth=24):
    """Write a WSDL of a few kilobytes that takes hours to read."""
    group = '<x:group name="g{}"><x:sequence>{}</x:sequence></x:group>'
    groups = [group.format(i, f'<x:group ref="t:g{i + 1}"/>' * 2) for i in range(depth)]
    number = '<x:element name="id" type="x:int"/>'
    # The operation's own element is made of the groups.
    text = WSDL.replace(number, '<x:group ref="t:g0"/>')
    return text.format(more="".join(groups) + group.format(depth, number)).encode()


def test_a_wsdl_without_end_holds_up_neither_others_nor_a_stop(system, recorder):  # noqa: F811
    """Others' messages go on while it is read; its own waits, the log says why, and SIGTERM ends within the grace."""
    good = WSDL.format(more="").encode()
    server = recorder(bodies={"/bomb": bomb(), "/good": good, "/call": DONE, "/after": DONE})
    base = f"http://{HOST}:{server.port}"
    dispatcher, config = configured(system, "wsdl_seconds = 2\ngrace_seconds = 3\n")
    options = {"protocol": "soap", "action": "Go"}
    with ap4r.session(config=config) as handle:
        handle.async_to(f"{base}/never", {"id": 1}, wsdl=f"{base}/bomb", queue="bad", **options)
    wait_until(lambda: any("/bomb" in head for head in server.heads), "the WSDL is fetched", timeout_seconds=20)
    with ap4r.session(config=config) as handle:
        handle.async_to(f"{base}/call", {"id": 1}, wsdl=f"{base}/good", queue="good", **options)
    wait_until(lambda: any("/call" in head for head in server.heads), "another WSDL's call", timeout_seconds=30)
    dispatcher.wait_for_output("took longer than 2 s")
    assert "no description" in dispatcher.output
    assert not any("/never" in head for head in server.heads)
    assert system.dead() == {}
    dispatcher.send(signal.SIGTERM)
    assert dispatcher.wait(30) == 0


def test_a_document_type_and_a_copy_are_read_where_the_settings_say_so(system, recorder, tmp_path):  # noqa: F811
    """Its own entities are written out, nothing external is fetched; a copy stands for what it is named for."""
    more = '<x:import namespace="urn:k" schemaLocation="k.xsd"/><x:import namespace="urn:c" schemaLocation="c.xsd"/>'
    server = recorder(bodies={"/wsdl": WSDL.format(more=more).encode(), "/k.xsd": DTD, "/call": DONE})
    base = f"http://{HOST}:{server.port}"
    (system.processes.folder / "copy.xsd").write_bytes(DTD.replace(b"urn:k", b"urn:c"))
    _, config = configured(system, f'wsdl_dtd = true\n[wsdl_copies]\n"{base}/c.xsd" = "copy.xsd"\n')
    with ap4r.session(config=config) as handle:
        handle.async_to(f"{base}/call", {"id": 1}, protocol="soap", action="Go", wsdl=f"{base}/wsdl")
    system.wait_until_empty()
    assert sorted({head.split()[1] for head in server.heads}) == ["/call", "/k.xsd", "/wsdl"]
