"""The intake of a real dispatcher: accepted messages are delivered once, others are refused with a reason."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote

import pytest

from tests.support import storefile
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port, program

LATER = {"delay_seconds": 3600}
TOKEN = "a-token-of-sixteen-characters"


def calls(target):
    """Return what was called: method, path and body."""
    return sorted((request.method, request.path, request.body) for request in target.requests)


def exchange(taker, path, name, value, body, more=b""):
    """Post with a header of these bytes, whole in one piece; return the status and what the JSON of the answer says."""
    headers = {b"Host": b"localhost", b"Content-Type": b"application/json", name.encode(): value}
    lines = b"".join(b"%s: %s\r\n" % header for header in headers.items())
    with socket.create_connection((HOST, taker.port), timeout=20) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (path, lines, more, len(body), body)
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
    return answer.status, told["error"], told["where"], told["outcome_unknown"]


class TestPuts:
    def test_one_message_is_delivered(self, taker, target):
        """A message that was answered with 202 and its id is called."""
        status, answer = taker.put({"target": "/search", "params": {"q": "a b"}})
        wait_until(lambda: target.requests, "the message is delivered")
        [request] = target.requests
        assert (status, request.id, request.body) == (202, answer["id"], b"q=a+b")

    def test_many_messages_are_delivered(self, taker, target):
        """An array is answered with the ids in their order."""
        status, answer = taker.put([{"target": "/x", "text": str(number)} for number in range(20)])
        wait_until(lambda: len(target.requests) == 20, "all are delivered")
        by_id = {request.id: request.body for request in target.requests}
        assert status == 202
        assert [by_id[each] for each in answer["ids"]] == [str(number).encode() for number in range(20)]

    def test_all_or_nothing(self, taker, system):
        """One message that means nothing keeps the others out too."""
        status, answer = taker.put([{"target": "/x", **LATER}, {"target": "x"}])
        assert (status, answer["where"]) == (422, "[1].target")
        assert storefile.count(system.store, "scheduled") == 0

    @pytest.mark.parametrize("name", ["X-AP4R", "Idempotency-Key", "Host", "Content-Type"])
    def test_a_header_that_stands_twice_is_refused(self, taker, system, name):
        """Neither the first nor the second wins: nothing is stored."""
        headers = {
            "Host": HOST,
            "X-AP4R": "target_url=/x,activates=3600",
            "Idempotency-Key": "a",
            "Content-Type": "t/x",
        }
        connection = http.client.HTTPConnection(HOST, taker.port, timeout=20)
        connection.putrequest("POST", "/queues/q", skip_host=True)
        for each, value in [*headers.items(), (name, headers[name]), ("Content-Length", "1")]:
            connection.putheader(each, value)
        connection.endheaders(b"b")
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        assert (answer.status, told["error"], told["where"]) == (400, "repeated_header", name)
        assert storefile.count(system.store, "scheduled") == 0

    @pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["short way", "long way"])
    @pytest.mark.parametrize(
        "name",
        ["Host", "Origin", "Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "traceparent"],
    )
    def test_a_header_that_is_no_text_is_refused(self, taker, system, name, more):
        """The error for a byte that is not UTF-8 names the header, and nothing is stored."""
        answer = exchange(taker, b"/messages", name, b"\xfc", b'{"target": "/x", "delay_seconds": 3600}', more)
        assert answer == (400, "not_text", name, False)
        assert storefile.count(system.store, "scheduled") == 0
        assert "Traceback" not in taker.process.output

    def test_options_that_are_no_text_are_refused(self, taker, system):
        """The error for a byte that is not UTF-8 in X-AP4R names the option, and nothing is stored."""
        answer = exchange(taker, b"/queues/q", "X-AP4R", b"target_url=/\xfc,activates=3600", b"b")
        assert answer == (400, "not_text", "X-AP4R", False)
        assert storefile.count(system.store, "scheduled") == 0

    @pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity"])
    def test_a_coded_body_is_refused(self, taker, coding):
        """Bytes that would be taken for what they are not are refused at either address."""
        status, answer = taker.put({"target": "/x", **LATER}, Content_Encoding=coding)
        assert (status, answer["where"]) == (415, "Content-Encoding")
        options = "target_url=/x,activates=3600"
        assert taker.post("/queues/q", b"b", X_AP4R=options, Content_Encoding=coding)[0] == 415
        assert taker.post("/queues/q", b"b", X_AP4R=options, Content_Encoding="identity")[0] == 200

    def test_ap4rs_own_way(self, taker, system, target):
        """A raw body with the header X-AP4R is called as it came, and the answer is the id and nothing else."""
        options = f"dispatch_mode=HTTP, target_method=PUT, target_url={system.door}/async_shop/execute/?a=1"
        status, answer = taker.post("/queues/queue.test", b"hoge\0", X_AP4R=options, Content_Type="text/x-own")
        wait_until(lambda: target.requests, "the message is delivered")
        [request] = target.requests
        assert (status, request.id, request.method, request.body) == (200, answer, "PUT", b"hoge\0")
        assert request.headers["content-type"] == "text/x-own"
        assert request.headers["ap4r-queue"] == "queue.test"

    @pytest.mark.parametrize("name", ["queue.ü", "€", "a/b", "%41"])
    def test_a_queue_of_any_name(self, taker, target, name):
        """The name in the path is UTF-8, percent-encoded once: it is the queue that a field of that name gives."""
        path, options = f"/queues/{quote(name, safe='')}", "target_url=/x"
        assert taker.post(path, b"b", X_AP4R=options)[0] == 200
        assert taker.put({"target": "/x", "queue": name})[0] == 202
        wait_until(lambda: len(target.requests) == 2, "both are delivered")
        assert [unquote(request.headers["ap4r-queue"]) for request in target.requests] == [name, name]

    def test_a_queue_whose_name_is_no_text(self, taker, system):
        """Bytes that are not UTF-8 are no name, and nothing is stored."""
        status, answer = taker.post("/queues/%FC", b"b", X_AP4R="target_url=/x,activates=3600")
        assert (status, answer["error"], answer["where"]) == (422, "option_refused", "queue")
        assert storefile.count(system.store, "scheduled") == 0

    def test_a_repeat_changes_nothing(self, taker, target):
        """The same id again is answered alike and delivered once, at once and after the delivery."""
        one = {"id": str(uuid.uuid4()), "target": "/x", "text": "a"}
        assert [taker.put(one) for _ in range(3)] == [(202, {"id": one["id"]})] * 3
        wait_until(lambda: target.requests, "the message is delivered")
        assert taker.put(one) == (202, {"id": one["id"]})
        options = "dispatch_mode=HTTP, target_url=/y"
        answers = {taker.post("/queues/q", b"b", X_AP4R=options, Idempotency_Key="order 7") for _ in range(3)}
        assert len(answers) == 1
        wait_until(lambda: len(target.requests) >= 2, "both are delivered")
        assert [body for _, _, body in calls(target)] == [b"a", b"b"]

    def test_the_same_id_with_other_content_is_refused(self, taker, system):
        """The first one counts, and the second is refused."""
        one = {"id": str(uuid.uuid4()), "target": "/x", "text": "a", **LATER}
        assert taker.put(one)[0] == 202
        status, answer = taker.put({**one, "text": "b"})
        assert (status, answer["error"], answer["where"]) == (422, "id_used_before", "id")
        assert storefile.count(system.store, "scheduled") == 1

    def test_many_at_once(self, taker, system):
        """Puts of many connections are each stored once."""
        with ThreadPoolExecutor(16) as threads:
            answers = list(
                threads.map(lambda number: taker.put({"target": "/x", "text": str(number), **LATER}), range(200))
            )
        assert {status for status, _ in answers} == {202}
        assert len({answer["id"] for _, answer in answers}) == 200 == storefile.count(system.store, "scheduled")

    def test_what_was_answered_survives_a_kill(self, taker, system):
        """A dispatcher that is killed right after its answers has kept what it said it has."""
        answered = []
        for _ in range(20):
            answered.append(taker.put({"target": "/x", **LATER})[0])
        taker.process.kill()
        assert answered == [202] * 20
        assert storefile.count(system.store, "scheduled") == 20


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "headers", "status"),
        [
            ("/messages", {"Content_Type": "text/plain"}, 415),
            ("/messages", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
            ("/messages", {}, 415),
            ("/messages", {"Content_Type": "application/json", "Origin": "http://localhost:3000"}, 403),
            ("/messages", {"Content_Type": "application/json", "Host": "evil.example"}, 403),
            ("/queues/q", {"Content_Type": "text/plain"}, 415),
            ("/queues/q", {"X_AP4R": "target_url=/x", "Origin": "null"}, 403),
            ("/queues/q", {"X_AP4R": "target_url=/x", "Host": "evil.example:7438"}, 403),
            ("/queues/q", {"X_AP4R": "target_url=x"}, 422),
            ("/queues/", {"X_AP4R": "target_url=/x"}, 404),
            ("/messages/more", {"Content_Type": "application/json"}, 404),
            ("/nowhere", {}, 404),
        ],
    )
    def test_each_refusal_is_json(self, taker, path, headers, status):
        """Every refusal is JSON, with what to do."""
        given, answer = taker.post(path, b'{"target": "/x"}', **headers)
        assert given == status
        assert answer["message"] and answer["advice"]

    def test_sizes(self, taker):
        """A request that says that it is too large is refused before it is read, a chunked one while it is."""
        status, answer = taker.post("/messages", b"x" * (26 * 2**20), Content_Type="application/json")
        assert (status, answer["error"]) == (413, "too_large")
        connection = http.client.HTTPConnection(HOST, taker.port, timeout=20)
        parts = (b"x" * 2**20 for _ in range(30))
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/messages", parts, headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (413, True)
        connection.close()

    @pytest.mark.parametrize(
        ("path", "setting", "most"),
        [("/messages", "max_request_bytes", 16 * 2**20 * 3 // 2 + 2**20), ("/queues/q", "max_body_bytes", 2**20)],
    )
    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_size_names_the_setting_that_it_exceeds(self, taker, path, setting, most, chunked):
        """Of JSON that is max_request_bytes, of a body that is sent on max_body_bytes, and it says how much."""
        connection = http.client.HTTPConnection(HOST, taker.port, timeout=20)
        headers = {"Content-Type": "application/json"} if path == "/messages" else {"X-AP4R": "target_url=/x"}
        if chunked:
            parts = (b"x" * 2**20 for _ in range(most // 2**20 + 1))
            connection.request("POST", path, parts, headers, encode_chunked=True)
        else:
            connection.request("POST", path, headers={**headers, "Content-Length": "9" * 17})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        assert (answer.status, told["error"]) == (413, "too_large")
        assert f"more than {most:,} bytes: the setting {setting} is " in told["message"]

    def test_options_at_the_wrong_path_are_reported(self, taker):
        """X-AP4R is not ignored where a message is JSON: the answer names the path that reads it."""
        headers = {"Content_Type": "application/json", "X_AP4R": "target_url=/x, delivery=once"}
        status, answer = taker.put({"target": "/x"}, **headers)
        assert (status, answer["error"], answer["where"]) == (400, "misplaced_header", "X-AP4R")
        assert "/queues/NAME" in answer["advice"]

    def test_lines_that_end_with_lf_alone_are_reported(self, taker):
        """They are no HTTP, and are answered so at once, in place of a wait for the rest."""
        with socket.create_connection((HOST, taker.port), timeout=20) as connection:
            connection.sendall(b"POST /messages HTTP/1.1\nHost: localhost\n\n")
            said = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"LF" in said

    def test_the_largest_request_is_taken(self, taker, system):
        """16 MiB of messages come in, in base64."""
        body = base64.b64encode(os.urandom(2**20 - 100)).decode()
        assert taker.put([{"target": "/x", "base64": body, **LATER} for _ in range(15)])[0] == 202
        assert storefile.count(system.store, "scheduled") == 15

    def test_the_dispatcher_itself_is_no_target(self, taker):
        """A message to the intake would go round in circles."""
        for name in ("127.0.0.1", "localhost", "[::1]"):
            status, answer = taker.put({"target": f"http://{name}:{taker.port}/messages"})
            assert (status, answer["where"]) == (422, "target")

    def test_rates(self, start_taker):
        """Above intake_rate the response says when to retry."""
        taker = start_taker(AP4R_INTAKE_RATE="0.01")
        answers = [taker.put({"target": "/x", **LATER}) for _ in range(4)]
        assert [status for status, _ in answers] == [202, 429, 429, 429]

    def test_a_slow_request_is_ended(self, start_taker):
        """A body that trickles in is answered with 408 and its connection is closed."""
        taker = start_taker(AP4R_INTAKE_BODY_SECONDS="2")
        with socket.create_connection((HOST, taker.port), timeout=10) as slow:
            slow.sendall(b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            read = b""
            while part := slow.recv(4096):
                read += part
        assert read.startswith(b"HTTP/1.1 408 ")
        assert taker.put({"target": "/x", **LATER})[0] == 202

    def test_tokens(self, start_taker, system, monkeypatch):
        """With tokens one of them must be shown; they are read again at SIGHUP."""
        file = system.processes.folder / "token"
        file.write_text(f"{TOKEN}\nthe-second-of-the-two-tokens\n")
        taker = start_taker(AP4R_INTAKE_TOKEN=f"file:{file}")
        one = {"target": "/x", **LATER}
        assert taker.put(one)[0] == 401
        assert taker.put(one, Authorization="Bearer wrong-wrong-wrong-wrong")[0] == 401
        assert taker.put(one, Authorization=f"Bearer {TOKEN}")[0] == 202
        assert taker.put(one, Authorization="Bearer the-second-of-the-two-tokens")[0] == 202
        assert TOKEN not in taker.process.output
        file.write_text("the-second-of-the-two-tokens")
        taker.process.send(signal.SIGHUP)
        wait_until(lambda: taker.put(one, Authorization=f"Bearer {TOKEN}")[0] == 401, "the old token is no good")
        assert taker.put(one, Authorization="Bearer the-second-of-the-two-tokens")[0] == 202

    def test_wrong_tokens_change_nothing_else(self, start_taker, system, target):
        """A SIGHUP whose token cannot be read is refused as a whole: also the servers stay what they were."""
        file, config = system.processes.folder / "token", system.processes.folder / "ap4r.toml"
        file.write_text(TOKEN)
        one, two = target.door("one"), target.door("two")
        config.write_text(f'intake_token = "file:{file}"\nupstreams.web.servers = ["{one}"]\n')
        taker = start_taker("--config", str(config))
        config.write_text(config.read_text().replace(one, two))
        file.unlink()
        taker.process.send(signal.SIGHUP)
        taker.process.wait_for_output("the old ones stay")
        assert taker.put({"target": "web:/x"}, Authorization=f"Bearer {TOKEN}")[0] == 202
        wait_until(lambda: target.requests, "the message is delivered")
        assert [request.door for request in target.requests] == ["one"]
        assert "were read again" not in taker.process.output

    def test_others_are_not_let_in_without_a_token(self, processes):
        """Where others can come the start is refused, naming the setting; without an intake it is not."""
        port = free_port()
        process = processes.twistd_ap4r("--listen", f"tcp:{port}")
        assert process.wait(20) == 1
        assert "intake_token" in process.output
        process = processes.twistd_ap4r("--listen", f"tcp:{port}", AP4R_INTAKE="false", name="closed")
        processes.wait_until_listening(process, port)

    def test_a_store_that_is_away_is_reported(self, start_taker, system):
        """Without a store the answer is 503 with a time to come again, and nothing was stored."""
        taker = start_taker(AP4R_STORE_DEADLINE_SECONDS="3")
        assert taker.put({"target": "/x", **LATER})[0] == 202
        with storefile.locked(system.store):
            status, answer = taker.put({"target": "/x", **LATER})
        assert (status, answer["outcome_unknown"]) == (503, False)
        assert storefile.count(system.store, "scheduled") == 1


def test_a_unix_socket(system):
    """The intake listens on a UNIX socket that only its group may use."""
    path = system.processes.folder / "s"
    process = system.processes.twistd_ap4r("--store", system.url, "--listen", f"unix:{path}")
    process.wait_for_output(f"intake at http+unix://{path}")
    assert path.stat().st_mode & 0o777 == 0o660
    command = ["curl", "-sS", "--unix-socket", str(path), "http://localhost/messages", "--json", '{"target": "/x"}']
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert set(json.loads(done.stdout)) == {"id"}


@pytest.mark.parametrize(
    ("headers", "status", "shown"),
    [
        ({"Host": "localhost"}, 200, True),
        ({"Host": "10.0.0.7:7438"}, 200, False),
        ({"Host": "localhost", "X-Forwarded-For": "10.0.0.9"}, 200, False),
        ({"Host": "evil.example"}, 403, False),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403, False),
    ],
)
def test_the_health_page_shows_strangers_no_more_than_ok(taker, headers, status, shown):
    """Where stores are and what is held is for this host; a page that was led here by its own name is refused."""
    connection = http.client.HTTPConnection(HOST, taker.port, timeout=20)
    try:
        connection.request("GET", "/healthz", headers=headers)
        answer = connection.getresponse()
        facts = json.loads(answer.read())
        assert (answer.status, "stores" in facts) == (status, shown)
        assert shown or "sqlite" not in json.dumps(facts)
    finally:
        connection.close()


def test_a_stop_answers_what_was_taken(taker, system):
    """At SIGTERM every put that is answered with success is stored, and later ones are refused."""
    statuses = []

    def put(_):
        try:
            statuses.append(taker.put({"target": "/x", **LATER})[0])
        except (OSError, http.client.HTTPException):
            statuses.append(0)

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(put, number) for number in range(100)]
        time.sleep(0.05)
        taker.process.send(signal.SIGTERM)
        for future in futures:
            future.result()
    assert taker.process.wait(20) == 0
    assert set(statuses) <= {202, 503, 0}
    assert storefile.count(system.store, "scheduled") >= statuses.count(202)


@pytest.mark.timeout(120)
def test_schemathesis_finds_nothing(start_taker, system):
    """What the OpenAPI document says is true of the intake, tried with generated requests, good and bad."""
    taker = start_taker(AP4R_INTAKE_RATE="1000000")
    # Its own list of what refuses bad data has no 413, which is what too many messages are answered with.
    config = system.processes.folder / "schemathesis.toml"
    config.write_text("[checks.negative_data_rejection]\nexpected-statuses = [400, 404, 405, 413, 415, 422]\n")
    done = system.processes.run(
        program("schemathesis"), "--config-file", str(config), "run", f"{taker.url}/openapi.json",
        "--max-examples", "15",
        "--phases", "examples,coverage,fuzzing", "--exclude-checks", "positive_data_acceptance", "--no-color",
        "--suppress-health-check", "all", "--generation-database", "none", "--request-timeout", "20",
        timeout_seconds=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
