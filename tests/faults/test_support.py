"""The tools of the fault tests, tried by themselves: a ledger that cannot find a loss proves nothing."""

from __future__ import annotations

import http.client
import signal
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.ledger import LedgerFile, Verdict, compare, read_ledger
from tests.support.lines import whole_lines
from tests.support.ports import StuckPort, refusing_port
from tests.support.probe import wait_until
from tests.support.processes import HOST, Processes, free_port, listens
from tests.support.target import ScriptedTarget


def _lines(*lines: tuple[str, dict[str, object]]) -> list[dict[str, object]]:
    return [{"kind": kind, "at": float(number), **facts} for number, (kind, facts) in enumerate(lines)]


def _request(name: str, verdict: str, *, told: bool = True, on: str = "success") -> list[tuple[str, dict[str, object]]]:
    status = 200 if verdict == "commit" else 500
    lines: list[tuple[str, dict[str, object]]] = [
        ("put", {"request": name, "message": f"m-{name}", "on": on, "kept": True}),
        ("inner", {"request": name, "verdict": verdict, "status": status}),
    ]
    if told:
        lines.append(("outer", {"request": name, "end": "whole", "status": status, "unknown": False}))
    return lines


def _arrival(name: str, attempt: int = 1, *, answered: bool = True) -> list[tuple[str, dict[str, object]]]:
    facts: dict[str, object] = {"id": f"m-{name}", "attempt": attempt, "well": True}
    return [("arrival", facts), ("answer", facts)] if answered else [("arrival", facts)]


def test_ledger_finds_what_is_wrong():
    """The comparison finds lost, unanswered, unexpected and repeated messages, false successes and falling attempts."""
    found = compare(
        _lines(
            *_request("fine", "commit"),
            *_request("lost", "commit"),
            *_request("unanswered", "commit"),
            *_request("aborted", "abort"),
            *_request("false", "abort"),
            *_request("repeat", "commit"),
            ("client", {"request": "false", "status": 200, "whole": True}),
            *_arrival("fine"),
            *_arrival("unanswered", answered=False),
            *_arrival("aborted"),
            *_arrival("unknown"),
            *_arrival("repeat", 2),
            *_arrival("repeat", 2),
        )
    )
    assert found.lost == ["m-lost", "m-unanswered"]
    assert found.unexpected == ["m-aborted", "m-unknown"]
    assert found.false_successes == ["m-false"]
    assert found.repeated == ["m-repeat"]
    assert found.attempts_fell == ["m-repeat"]
    assert found.repeats == 1


def test_ledger_doubts_only_what_cannot_be_known():
    """Killed before its own end is ABORT, after it DOUBT, and a client that has read the answer ends the doubt."""
    puts = [("put", {"request": "early", "message": "m-early", "on": "success", "kept": True})]
    told = [("client", {"request": "read", "status": 200, "whole": True})]
    found = compare(
        _lines(*puts, *_request("late", "commit", told=False), *_request("read", "commit", told=False), *told)
    )
    assert found.verdicts == {"m-early": Verdict.ABORT, "m-late": Verdict.DOUBT, "m-read": Verdict.COMMIT}


def test_ledger_follows_failures():
    """A message for failures is committed by an aborted request, and the other way round."""
    found = compare(_lines(*_request("bad", "abort", on="failure"), *_request("good", "commit", on="failure")))
    assert found.verdicts == {"m-bad": Verdict.COMMIT, "m-good": Verdict.ABORT}


def test_ledger_file_survives_a_torn_line(tmp_path: Path):
    """A line that a kill cut short is passed over, all others are read in order of time."""
    file = LedgerFile(tmp_path / "one.jsonl")
    file.write("arrival", id="a", attempt=1)
    file.write("arrival", id="b", attempt=1)
    file.close()
    with (tmp_path / "one.jsonl").open("ab") as torn:
        torn.write(b'{"kind":"arri')
    assert [line["id"] for line in read_ledger(tmp_path)] == ["a", "b"]


def test_a_line_counts_once_it_is_whole(tmp_path: Path):
    """A line is read when it is complete, and a missing file has no lines."""
    path = tmp_path / "calls"
    assert whole_lines(path) == []
    for said, lines in [("on", []), ("e\ntw", [b"one"]), ("o\n\n", [b"one", b"two", b""])]:
        with path.open("a") as file:
            file.write(said)
        assert whole_lines(path) == lines


#: For calls that must get no answer: what never comes has not come after this long either.
IN_VAIN_SECONDS = 0.3


def _call(url: str, answer: str, message: str = "m", timeout_seconds: float = 10.0) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout_seconds)
    try:
        headers = {"Ap4r-Message-Id": message, "Ap4r-Attempt": "3"}
        connection.request("POST", f"/work?answer={answer}", b"body", headers)
        response = connection.getresponse()
        return response.status, response.getheader("retry-after"), response.read()
    finally:
        connection.close()


def test_target_answers_as_asked(target: ScriptedTarget):
    """Status codes come as they are, one after the other for one message, with Retry-After where it was asked for."""
    door = target.door("front")
    assert _call(door, "204", "a") == (204, None, b"")
    assert _call(door, "429:7", "b")[:2] == (429, "7")
    assert str(_call(door, "429-date:7", "c")[1]).endswith(" GMT")
    assert [_call(door, "500,404,200", "d")[0] for _ in range(4)] == [500, 404, 200, 200]
    request = target.requests_for("d")[0]
    assert (request.body, request.attempt, request.door, request.method) == (b"body", 3, "front", "POST")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("close", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
        ("never", TimeoutError),
        ("half-header", http.client.HTTPException),
        ("stalled-header", TimeoutError),
        ("half-body", http.client.IncompleteRead),
        ("stalled-body", TimeoutError),
        ("half-chunks", http.client.IncompleteRead),
        ("stalled-chunks", TimeoutError),
        ("garbage", http.client.BadStatusLine),
    ],
)
def test_target_breaks_as_asked(target: ScriptedTarget, answer: str, error: type[Exception]):
    """Each broken answer is broken in its own way, seen by a client of the standard library."""
    with pytest.raises(error):
        # Only what waits in vain may be hurried: any other ending must have the time to come on a busy machine.
        timeout_seconds = IN_VAIN_SECONDS if error is TimeoutError else 10.0
        status, _, body = _call(target.door(), answer, timeout_seconds=timeout_seconds)
        # http.client forgives a header that ends early: it is then a response of no known length and no body.
        raise http.client.HTTPException if (status, body) == (200, b"") else AssertionError(status, body)
    assert target.wait_for(1)[0].body == b"body"


def test_target_holds_until_the_gate_opens(target: ScriptedTarget):
    """A held call has its answer when the test wants it, and not before."""
    door = target.door()
    with pytest.raises(TimeoutError):
        _call(door, "hold:gate", timeout_seconds=IN_VAIN_SECONDS)
    target.open("gate")
    assert _call(door, "hold:gate")[0] == 200


def test_ports_refuse_and_get_stuck():
    """A refusing port refuses at once; a stuck one does nothing, until it is opened."""
    with refusing_port() as port:
        assert not listens(port)
    stuck = StuckPort()
    with pytest.raises(TimeoutError):
        _call(stuck.url, "200", timeout_seconds=IN_VAIN_SECONDS)
    stuck.open()
    # Who comes before the queue is emptied is turned away, and the kernel knocks again a second later at the soonest.
    number = int(stuck.url.rpartition(":")[2])
    wait_until(lambda: listens(number) and stuck.connections > 0, "connections come about")
    with pytest.raises(TimeoutError):
        _call(stuck.url, "200", timeout_seconds=2)
    wait_until(lambda: stuck.bytes_received > 0, "what was sent is counted")
    stuck.close()


def test_a_port_that_was_found_is_not_found_again():
    """A port that was found is not found again before its server listens."""
    found = [free_port() for _ in range(100)]
    assert len(set(found)) == len(found)


def test_target_as_a_process(processes: Processes, tmp_path: Path):
    """The target runs as a process of its own, and its ledger outlives a kill."""
    port = free_port()
    ledger = tmp_path / "target.jsonl"
    command = (sys.executable, "-m", "tests.support.target", "--port", str(port), "--ledger", str(ledger))
    process = processes.start("target", *command)
    processes.wait_until_listening(process, port)
    assert _call(f"http://{HOST}:{port}", "200")[0] == 200
    wait_until(lambda: len(read_ledger(tmp_path)) == 2, "arrival and answer are written down")
    process.kill()
    assert [line["kind"] for line in read_ledger(tmp_path)] == ["arrival", "answer"]


def test_processes_are_hurt_and_ended(tmp_path: Path):
    """A process can be paused, resumed, signalled and killed with all it forked; leaving the block ends the rest."""
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        "os.fork()\n"
        "os.write(1, b'up\\n')\n"  # in one piece: both halves of the fork write
        "time.sleep(60)"
    )
    with Processes(tmp_path) as processes:
        first = processes.start("first", sys.executable, "-c", script)
        second = processes.start("second", sys.executable, "-c", script)
        first.wait_for_output("up\nup")
        second.wait_for_output("up\nup")
        first.pause()
        first.send(signal.SIGTERM)
        state = Path(f"/proc/{first.pid}/stat")
        wait_until(lambda: ") T " in state.read_text(), "it is stopped")
        first.go_on()
        assert first.wait() == 7
        second.kill()
        assert second.wait() == -signal.SIGKILL
    # What they forked is no child of ours: its end is not waited for, and a kill returns before it.
    wait_until(lambda: not {first.pid, second.pid} & _living_groups(), "all that was forked has ended too")


def test_a_process_that_ended_keeps_its_id(tmp_path: Path):
    """The id of a process that ended by itself is taken until `kill`, so that no signal reaches another process."""
    with Processes(tmp_path) as processes:
        ended = processes.start("ended", sys.executable, "-c", "raise SystemExit(3)")
        assert ended.wait() == 3
        assert not ended.running
        assert ") Z " in Path(f"/proc/{ended.pid}/stat").read_text()
        ended.send(signal.SIGTERM)
        ended.kill()
        assert not Path(f"/proc/{ended.pid}").exists()
        assert (ended.running, ended.wait()) == (False, 3)


def _living_groups() -> set[int]:
    groups = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z":
                groups.add(int(group))
    return groups


def test_waiting_in_vain_fails():
    """A condition that never comes true fails the test instead of letting it go on."""
    with pytest.raises(AssertionError, match="until pigs fly; they walk"):
        wait_until(lambda: False, "pigs fly", timeout_seconds=0.05, otherwise=lambda: "they walk")
