"""The command `ap4r` tells the truth about a store, and mends only what it was asked to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from ap4r.cli.__main__ import main
from ap4r.message.message import Delivery, Message, Put, new_id
from ap4r.message.target import parse_target
from ap4r.outcome.outcome import Dead, Failure, Reason, RetryLater
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from ap4r.storage.sql_store import SqlStore
from ap4r.storage.store import Held, Settlement


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ap4r.db"


@pytest.fixture
def store(url):
    opened = open_store(url, load_settings(environ={}, store=url))
    opened.prepare()
    yield opened
    opened.close()


def put(store, count=1, *, path="/search/reindex", delivery=Delivery.REPEATED, now=None):
    target, queue = parse_target(path)
    messages = tuple(
        Message(id=new_id(), queue=queue, target=target, delivery=delivery, body=b"secret") for _ in range(count)
    )
    store.put(Put(new_id(), messages), now=now)
    return [message.id for message in messages]


def bury(store, *, called=True):
    store.register("grave", "digger:1", "0", "")
    failure = Failure(Reason.GONE, 410, "not \x1b[31mhere any more\x00")
    leases = store.claim("grave", 1_000).leases
    store.settle([Settlement(lease, Dead(Reason.GONE, failure, called=called)) for lease in leases])
    store.unregister("grave")
    return [lease.message.id for lease in leases]


def run(capsys, *arguments):
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_status_counts_each_state_by_queue(store, url, capsys):
    """`status --json` gives the messages of each queue in each state."""
    put(store, 3)
    put(store, 2, path="/mail/send")
    store.register("one", "host:7", "0.1", "")
    store.claim("one", 1)
    code, out, _ = run(capsys, "status", "--store", url, "--json")
    status = json.loads(out)
    queues = {queue["queue"]: queue for queue in status["queues"]}
    assert code == 0
    assert sum(queue["ready"] for queue in queues.values()) == 4
    assert sum(queue["leased"] for queue in queues.values()) == 1
    assert set(queues) == {"queue.mail.send", "queue.search.reindex"}
    assert [(one["name"], one["leased"], one["alive"]) for one in status["dispatchers"]] == [("host:7", 1, True)]


def test_status_for_people_names_queues_and_dispatchers(store, url, capsys):
    """`status` prints a line for every queue and every dispatcher."""
    put(store)
    store.register("one", "host:7", "0.1", "")
    code, out, _ = run(capsys, "status", "--store", url)
    assert code == 0
    assert "queue.search.reindex" in out
    assert "host:7" in out
    assert "alive" in out


def test_status_shows_since_when_a_killed_dispatcher_gave_no_sign(store, url, capsys):
    """Its heartbeat decides, and no other dispatcher has to have watched it."""
    put(store, now=time.time() - 30)
    store.register("one", "host:7", "0.1", "", now=time.time() - 30)
    store.claim("one", 1, now=time.time() - 20)
    _, out, _ = run(capsys, "status", "--store", url)
    assert re.search("host:7 +no heartbeat for 2[0-5] s", out)
    _, out, _ = run(capsys, "status", "--store", url, "--json")
    assert [one["alive"] for one in json.loads(out)["dispatchers"]] == [False]


def test_status_exits_1_without_a_dispatcher(store, url, capsys):
    """Messages due for a minute without a living dispatcher are an alarm."""
    put(store, now=time.time() - 61)
    code, _, err = run(capsys, "status", "--store", url)
    assert code == 1
    assert "no dispatcher of this store is alive" in err


def test_status_exits_0_with_a_dispatcher(store, url, capsys):
    """The same messages are no alarm while a dispatcher lives."""
    put(store, now=time.time() - 61)
    store.register("one", "host:7", "0.1", "")
    assert run(capsys, "status", "--store", url)[0] == 0


def test_dead_shows_why_and_never_shows_the_body(store, url, capsys):
    """A dead letter is listed with its target and reason, its body is not."""
    (message_id,) = put(store)
    bury(store)
    code, out, _ = run(capsys, "dead", "--store", url)
    assert code == 0
    assert message_id in out
    assert "POST app:/search/reindex" in out
    assert "gone 410" in out
    assert "not \ufffd[31mhere" in out
    assert all(character.isprintable() or character == "\n" for character in out)
    assert "secret" not in out
    letters = json.loads(run(capsys, "dead", "--store", url, "--json")[1])
    assert [(letter["message"]["id"], letter["reason"], letter["status"]) for letter in letters] == [
        (message_id, "gone", 410)
    ]
    assert "secret" not in json.dumps(letters)


def test_dead_pages_and_filters_by_queue(store, url, capsys):
    """--limit, --after and --queue give a part of the dead letters."""
    ids = put(store, 3) + put(store, 1, path="/mail/send")
    bury(store)

    def listed(*options):
        out = run(capsys, "dead", "--store", url, "--json", *options)[1]
        return [letter["message"]["id"] for letter in json.loads(out)]

    assert listed("--limit", "2") == ids[:2]
    assert listed("--after", ids[1]) == ids[2:]
    assert listed("--queue", "queue.mail.send") == ids[3:]


def test_dead_says_when_there_are_more(store, url, capsys):
    """A list that ends at its limit tells how to go on; with --json on standard error, where it spoils nothing."""
    ids = put(store, 3)
    bury(store)
    told = f"there are more; go on with --after {ids[1]}\n"
    _, out, err = run(capsys, "dead", "--store", url, "--limit", "2")
    assert (told in out, err) == (True, "")
    _, out, err = run(capsys, "dead", "--store", url, "--limit", "2", "--json")
    assert (len(json.loads(out)), told in err) == (2, True)
    for options in (["--limit", "3"], ["--after", ids[1], "--limit", "1"]):
        for form in ([], ["--json"]):
            _, out, err = run(capsys, "dead", "--store", url, *options, *form)
            assert ("there are more" in out, err) == (False, "")


def test_replay_puts_back_by_id(store, url, capsys):
    """A dead letter that is replayed is ready again; the others stay dead."""
    first, second = put(store, 2)
    bury(store)
    code, out, _ = run(capsys, "replay", first, "--store", url)
    assert (code, out) == (0, "1 put back\n")
    assert [letter.message.id for letter in store.dead()] == [second]
    assert store.status().queues[0].ready == 1


def test_replay_all_walks_through_every_page(store, url, capsys):
    """--all puts back more than one page of dead letters."""
    put(store, 700)
    bury(store)
    code, out, _ = run(capsys, "replay", "--all", "--store", url, "--json")
    assert code == 0
    assert len(json.loads(out)["replayed"]) == 700
    assert store.dead() == []


def test_replay_all_of_one_queue_leaves_the_others(store, url, capsys):
    """--all --queue puts back that queue's dead letters only."""
    put(store, 2)
    put(store, 1, path="/mail/send")
    bury(store)
    assert run(capsys, "replay", "--all", "--queue", "queue.mail.send", "--store", url)[0] == 0
    assert [letter.message.queue for letter in store.dead()] == ["queue.search.reindex"] * 2


def test_a_called_once_message_needs_again(store, url, capsys):
    """A second call of a `once` message happens only when a person insists."""
    (message_id,) = put(store, delivery=Delivery.ONCE)
    bury(store)
    code, _, err = run(capsys, "replay", message_id, "--store", url)
    assert code == 1
    assert "--again" in err
    assert len(store.dead()) == 1
    assert run(capsys, "replay", message_id, "--again", "--store", url)[0] == 0
    assert store.dead() == []


def test_a_once_message_that_was_never_called_goes_back_freely(store, url, capsys):
    """No call was made, so a replay cannot be a second one."""
    (message_id,) = put(store, delivery=Delivery.ONCE)
    bury(store, called=False)
    assert run(capsys, "replay", message_id, "--store", url)[0] == 0


def test_replay_of_an_unknown_id_says_so(store, url, capsys):
    """An id that is no dead letter is named, and the exit code is 1."""
    unknown = new_id()
    code, _, err = run(capsys, "replay", unknown, "--store", url)
    assert code == 1
    assert unknown in err


@pytest.mark.parametrize("arguments", [["replay"], ["replay", "--all", new_id()], ["replay", new_id(), "--queue", "x"]])
def test_replay_refuses_what_is_not_clear(store, url, capsys, arguments):
    """Neither ids nor --all, or both, changes nothing and exits 2."""
    put(store)
    bury(store)
    assert run(capsys, *arguments, "--store", url)[0] == 2
    assert len(store.dead()) == 1


def test_looking_at_a_store_that_is_not_there_makes_none(tmp_path, capsys):
    """Read-only commands make no store; the error has the whole command line that makes one."""
    path = tmp_path / "typo.db"
    code, _, err = run(capsys, "status", "--store", f"sqlite:///{path}")
    assert code == 2
    assert f"there is no such file; create it with: ap4r migrate --store sqlite:///{path}" in err
    assert not path.exists()


def test_migrate_makes_the_tables_and_says_what_it_did(tmp_path, capsys):
    """`migrate` makes tables, a second one has nothing to do, and --check tells them apart."""
    url = f"sqlite:///{tmp_path}/new.db"
    (tmp_path / "new.db").touch()
    assert run(capsys, "migrate", "--check", "--store", url)[0] == 1
    code, out, _ = run(capsys, "migrate", "--store", url)
    assert code == 0
    assert "from nothing to version" in out
    assert "nothing to do" in run(capsys, "migrate", "--store", url)[1]
    assert run(capsys, "migrate", "--check", "--store", url)[0] == 0


def test_migrate_sql_prints_what_makes_the_tables(tmp_path, capsys):
    """`migrate --sql` prints statements that make the tables of this version, and makes nothing itself."""
    path = tmp_path / "new.db"
    code, out, _ = run(capsys, "migrate", "--sql", "--store", f"sqlite:///{path}")
    assert code == 0
    assert not path.exists()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(out)
    assert "nothing to do" in run(capsys, "migrate", "--check", "--store", f"sqlite:///{path}")[1]


@pytest.fixture
def bell():
    """Return the address of a doorbell that can be rung."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        yield f"udp://127.0.0.1:{listening.getsockname()[1]}"


def test_doctor_finds_what_is_missing(store, url, capsys, bell):
    """`doctor` names a missing dispatcher, a missing doorbell and dead letters; with all well it exits 0."""
    put(store)
    bury(store)
    code, out, _ = run(capsys, "doctor", "--store", url)
    assert code == 1
    assert "no dispatcher" in out
    assert "dead letters wait for a person: 1" in out
    store.replay([letter.message.id for letter in store.dead()])
    store.register("deaf", "host:7", "0.1", "")
    assert "no dispatcher has a doorbell" in run(capsys, "doctor", "--store", url)[1]
    store.register("hears", "host:8", "0.1", bell)
    assert run(capsys, "doctor", "--store", url)[0] == 0


def test_what_is_held_is_named_with_since_until_and_why(store, url, capsys, bell):
    """A queue at a server, and a whole server; `doctor` has a finding then, and `status` lists them."""
    store.register("one", "host:1", "0", bell)
    held = (
        Held("queue.a", "app", 12.0, 8.0, "slow down 503"),
        Held("", "http://b.example", 3.0, 2.0, "connect failed"),
    )
    store.report_held("one", held)
    code, out, _ = run(capsys, "doctor", "--store", url)
    assert code == 1
    queue = re.search(r"messages of queue\.a to app have been held for (\d+) s \(slow down 503\); .* in (\d+) s", out)
    server = re.search(r"all messages to http://b\.example have been held for (\d+) s \(connect failed\)", out)
    # The command tells them as they are now, which is some time after the report.
    assert queue and int(queue[1]) >= 12 and int(queue[2]) <= 8
    assert server and int(server[1]) >= 3
    assert "at once" not in out
    out = run(capsys, "status", "--store", url)[1]
    assert "queue.a" in out and "http://b.example" in out and "connect failed" in out
    [dispatcher] = json.loads(run(capsys, "status", "--json", "--store", url)[1])["dispatchers"]
    assert [one["queue"] for one in dispatcher["held"]] == ["queue.a", ""]
    store.report_held("one", ())
    assert run(capsys, "doctor", "--store", url)[0] == 0


def test_many_that_are_held_are_counted(store, url, capsys, bell):
    """A person reads ten sentences, not a thousand."""
    store.register("one", "host:1", "0", bell)
    store.report_held("one", tuple(Held("", f"http://h{number}", 1.0, 1.0, "refused") for number in range(50)))
    out = run(capsys, "doctor", "--store", url)[1]
    assert out.count("have been held") == 10
    assert "40 more are held as well" in out


def test_doctor_names_who_is_turned_away(store, url, capsys, bell):
    """401 and 403 of the application are a matter of its settings."""
    store.register("one", "host:1", "0", bell)
    put(store, 2)
    failure = Failure(Reason.STATUS, 403)
    store.settle([Settlement(lease, RetryLater(failure, 60.0, False)) for lease in store.claim("one", 10).leases])
    code, out, _ = run(capsys, "doctor", "--store", url)
    assert code == 1
    assert "2 messages of queue.search.reindex wait because app answered 403: see auth and secrets of" in out


def test_doctor_shows_a_held_target(store, url, capsys, bell):
    """Messages that wait although a dispatcher lives are named by their queue."""
    put(store, now=time.time() - 61)
    store.register("hears", "host:8", "0.1", bell)
    code, out, _ = run(capsys, "doctor", "--store", url)
    assert code == 1
    assert re.search(r"queue\.search\.reindex have been due for 6\d s", out)


def test_a_wrong_store_is_a_clear_error(capsys):
    """A URL of no known kind exits 2, says what a store looks like, and keeps its password."""
    code, _, err = run(capsys, "status", "--store", "redis://me:secret@localhost")
    assert code == 2
    assert "sqlite:///" in err
    assert "secret" not in err


@pytest.mark.parametrize("number", ["0", "-1", "x", "1000001", "9" * 5_000])
def test_a_limit_is_a_number(number, capsys):
    """A wrong number is refused in words of the user's."""
    code, _, err = run(capsys, "dead", "--limit", number)
    assert code == 2
    assert "is not a number from 1 to 1,000,000" in err


def test_a_reader_that_leaves_is_no_error(store, url):
    """`ap4r dead | head -1` ends quietly."""
    put(store, 300)
    bury(store)
    command = f"{sys.executable} -m ap4r.cli.__main__ dead --limit 300 --store {url} | head -1"
    finished = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=30)
    assert finished.stderr == ""
    assert finished.returncode == 0
    assert len(finished.stdout.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["dead"]])
def test_a_closed_output_is_no_error(store, url, arguments):
    """A command whose standard output is closed has its exit code and no traceback."""
    put(store)
    command = shlex.join([sys.executable, "-m", "ap4r.cli.__main__", *arguments, "--store", url])
    finished = subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, text=True, timeout=30)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_an_interrupted_command_exits_130(store, url, capsys, monkeypatch):
    """Ctrl-C prints one line without a traceback, and has the usual exit code of shells."""

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(SqlStore, "status", interrupted)
    code, out, err = run(capsys, "status", "--store", url)
    assert (code, out) == (130, "")
    assert err.endswith("ap4r: interrupted\n")


class TestSettings:
    """`ap4r settings` lists each setting with its value and source, and shows no secret."""

    SECRET, TOKEN, PASSWORD = "whsec_" + "QUJD" * 10, "token-of-the-intake-which-is-long", "pass-of-the-store"

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        (tmp_path / "ap4r.toml").write_text(
            f'store = "postgresql+psycopg://u:{self.PASSWORD}@h/db"\nconcurrency = 7\n'
            f'intake_token = ["{self.TOKEN}"]\nproxy = "http://proxy:3128"\n'
            f'[upstreams.app]\nservers = ["http://10.0.0.7:9000"]\nsecrets = ["{self.SECRET}"]\n'
            f'[upstreams.search]\nservers = ["http://10.0.0.8:9000"]\n'
            f'[[rewrite]]\nmatch = {{path = "/a"}}\nreplace = {{path = "/b"}}\n'
            f'[hosts."api.example.com:8443"]\nsecrets = ["{self.SECRET}"]\n'
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("AP4R_LOG_LEVEL", "debug")
        return tmp_path

    def test_values_and_sources(self, folder, capsys):
        """A value has the file, the variable or "default" beside it; tables are named."""
        code, out, _ = run(capsys, "settings", "--json")
        listed = {one["name"]: one for one in json.loads(out)}
        assert code == 0
        assert list(listed) == [spec.name for spec in dataclasses.fields(Settings)]
        found = {name: (one["value"], one["source"], one["needs_restart"]) for name, one in listed.items()}
        file = str(folder / "ap4r.toml")
        assert found["store"] == ("postgresql+psycopg://…@h/db", file, True)
        assert found["concurrency"] == (7, file, False)
        assert found["app_urls"] == (["http://10.0.0.7:9000"], file, False)
        assert found["secrets"] == (["hidden"], file, False)
        assert found["intake_token"] == (["hidden"], file, False)
        assert found["upstreams"] == (["app", "search"], file, False)
        assert found["rewrite"] == (["rule 1"], file, False)
        assert found["hosts"] == (["api.example.com:8443"], file, False)
        assert found["log_level"] == ("debug", "AP4R_LOG_LEVEL", False)
        assert found["timeout_seconds"] == (30.0, "default", False)

    @pytest.mark.parametrize("options", [[], ["--json"], ["--changed"], ["--changed", "--json"]])
    def test_no_secret_is_shown(self, options, folder, capsys):
        """Neither a secret, nor a token, nor the password of a URL."""
        code, out, err = run(capsys, "settings", *options)
        assert code == 0
        assert not [hidden for hidden in (self.SECRET[6:], self.TOKEN, self.PASSWORD) if hidden in out + err]

    def test_only_changed_ones(self, folder, capsys):
        """`--changed` leaves out each setting that is at its default, and each section without others."""
        lines = run(capsys, "settings", "--changed")[1].splitlines()
        assert [line.split()[0] for line in lines if line.startswith("  ")] == [
            "store", "stores", "app_urls", "secrets", "upstreams", "rewrite", "hosts", "proxy", "intake_token",
            "concurrency", "log_level",
        ]  # fmt: skip
        assert [line for line in lines[1:] if not line.startswith("  ")] == [
            "Store", "Targets", "Listen address", "Calls", "Log",
        ]  # fmt: skip

    def test_numbers_have_their_unit(self, folder, capsys):
        """A duration is shown in seconds and a size in bytes, with what a change of it needs."""
        out = run(capsys, "settings")[1]
        assert re.search(r"^  put_memory_seconds +900 s +default +restart$", out, re.MULTILINE)
        assert re.search(r"^  max_body_bytes +1,048,576 bytes +default +SIGHUP$", out, re.MULTILINE)

    def test_wrong_settings_are_told(self, folder, capsys):
        """A setting that is unknown or out of range is named, with exit code 2."""
        (folder / "ap4r.toml").write_text("concurrency = 0\n")
        code, out, err = run(capsys, "settings")
        assert (code, out) == (2, "")
        assert "concurrency" in err


@pytest.mark.parametrize("command", ["init", "status", "dead", "replay", "migrate", "settings", "doctor"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command, option, capsys):
    """Every command explains itself and each of its options, with exit code 0."""
    code, out, err = run(capsys, command, option)
    assert (code, err) == (0, "")
    assert f"Usage: ap4r {command}" in out
    options = re.findall(r"^  (-\S+.*)$", out, re.MULTILINE)
    assert len(options) >= 3
    assert all(re.search(r"\S {2,}\S", line) for line in options)
    assert command in run(capsys, "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing command"),
        (["bogus"], "there is no command bogus; there are init, status, dead, replay, migrate, settings, doctor"),
        (["dead", "--bogus"], "--bogus"),
        (["dead", "extra"], "extra"),
        (["dead", "--after", "\x1b[31m"], r"\x1b[31m is not a message's id"),
        (["dead", "--queue", "\udcff"], "is not text"),
        (["migrate", "--sql", "--check"], "--check and --sql exclude each other"),
    ],
)
def test_a_wrong_command_line_is_reported(arguments, says, capsys):
    """What is not understood is named, on standard error, with exit code 2."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def on_a_terminal(columns, *command):
    """Run a command on a terminal of so many columns; return its exit code and what it showed."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux reports that the other side is closed
            while block := os.read(ours, 65_536):
                shown += block
        os.close(ours)
    return process.returncode, shown.decode().replace("\r\n", "\n")


def test_a_table_is_folded_on_a_terminal_only(store, url, capsys):
    """On a terminal rows fit its width and lose no character; elsewhere each row is one plain line."""
    origin = "http://payments.of.a.shop.with.a.long.name.example.com:8080"
    store.register("one", "host:7", "0.1", "")
    store.report_held("one", (Held("", origin, 63.0, 2.0, "connect failed"),))
    command = [sys.executable, "-m", "ap4r.cli.__main__", "status", "--store", url]
    code, shown = on_a_terminal(80, *command)
    assert code == 0
    table = re.sub(r"\x1b\[[0-9;]*m", "", shown).partition("HELD QUEUE")[2].splitlines()
    assert table and all(len(line) <= 80 for line in table)
    column = table[0].index("TARGET") + len("HELD QUEUE")
    assert "".join(line[column:].split("  ")[0].strip() for line in table[1:]) == origin
    _, out, _ = run(capsys, *command[3:])
    assert any("all" in line and origin in line and "connect failed" in line for line in out.splitlines())
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_several_stores_by_name(store, url, tmp_path, capsys):
    """`status` tells of each --store; what is of one store refuses a second."""
    put(store)
    other = f"sqlite:///{tmp_path}/other.db"
    _, out, err = run(capsys, "status", "--store", url, "--store", other)
    assert url in out
    assert "other.db" in err
    code, _, err = run(capsys, "dead", "--store", url, "--store", other)
    assert code == 2
    assert "more than once" in err


@pytest.mark.parametrize("command", ["status", "migrate"])
def test_a_missing_folder_is_reported_once_and_for_all(command, tmp_path, capsys):
    """What is printed is all that has to be typed: no message sends its reader on to another error."""
    url = f"sqlite:///{tmp_path}/new/shop.db"
    code, _, err = run(capsys, command, "--store", url)
    assert code == 2
    assert f"there is no folder {tmp_path}/new; create it with: mkdir -p {tmp_path}/new" in err
    (tmp_path / "new").mkdir()
    assert run(capsys, "migrate", "--store", url)[0] == 0
    assert run(capsys, "status", "--store", url)[0] == 0


@pytest.mark.parametrize("command", [["dead"], ["dead", "--json"], ["status"], ["status", "--json"]])
def test_a_terminal_without_unicode_is_written_to(store, url, command):
    """What the terminal's encoding lacks is written as an escape; the command ends as on any other terminal."""
    put(store, path="/caf\N{LATIN SMALL LETTER E WITH ACUTE}/\N{SNOWMAN}")
    bury(store)
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-m", "ap4r.cli.__main__", *command, "--store", url],
        env=environ,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_one_attempt_is_one_attempt(store, url, capsys):
    """The number of attempts is said as a person would say it."""
    put(store)
    bury(store)
    assert "after 1 attempt\n" in run(capsys, "dead", "--store", url)[1]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["dead"]])
def test_an_output_that_takes_nothing_is_reported(store, url, arguments):
    """One line and exit code 2: 1 would say that messages wait and no dispatcher is alive."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ap4r.cli.__main__", *arguments, "--store", url],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.decode() == "ap4r: the output cannot be written: No space left on device\n"
