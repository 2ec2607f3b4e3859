"""Connections to servers: bounded in time, left alone by forks, taken to a server that works, and of no state."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ap4r.errors import ConfigError, StoreError, StoreUnavailable, StoreUnusable
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered
from ap4r.settings.settings import Settings
from ap4r.storage.databases import driver_calls
from ap4r.storage.open import open_store
from tests.support.databases import KINDS, PASSWORD, USER, shared_server
from tests.support.factories import claim, dispatcher, ids, message, messages, put, settle
from tests.support.pooler import TransactionPooler
from tests.support.probe import hold_for, wait_until
from tests.support.processes import free_port
from tests.support.tunnel import Tunnel

#: What is tolerated beyond a deadline: the watch's tick, and threads that wait for the processor.
SLACK_SECONDS = 2.0

CALLS = {
    "put": lambda store: store.put(Put(new_id(), (message(),))),
    "claim": lambda store: store.claim("one", 10),
    "beat": lambda store: store.beat("one"),
    "look": lambda store: store.look(),
    "status": lambda store: store.status(),
    "bells": lambda store: store.bells(),
}


def raising(error):
    """Return what raises an error, however it is called."""

    def fail(*args, **kwargs):
        raise error

    return fail


def commit_and_raise(error):
    """Return what runs a statement, and raises an error when a COMMIT has been done."""
    changed = driver_calls._changed

    def run(connection, statement, values=None):
        count = changed(connection, statement, values)
        if statement == "COMMIT":
            raise error
        return count

    return run


class TestDeadlines:
    def test_a_call_ends_in_time_without_an_answer(self, server, url, opened, stalls):
        """Where the way was cut without a word, each call fails within the deadline, and works when it is open."""
        with Tunnel(server.port) as tunnel, ThreadPoolExecutor(len(CALLS)) as threads:
            stores = {call: opened(server.url("own", port=tunnel.port), store_deadline_seconds=2.5) for call in CALLS}
            stores["put"].register("one", "one", "1", "")
            for call, store in stores.items():
                CALLS[call](store)

            def fail(call: str) -> float:
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    CALLS[call](stores[call])
                return time.monotonic() - began

            tunnel.stop()
            for _ in range(2):  # over a connection that was open, and over a new one
                began = time.monotonic()
                took = dict(zip(CALLS, threads.map(fail, CALLS), strict=True))
                stood_still = stalls.within(began, time.monotonic())
                assert max(took.values()) < 2.5 + SLACK_SECONDS + stood_still, took
            tunnel.go_on()
            for call, store in stores.items():
                CALLS[call](store)

    def test_a_call_that_waits_for_a_lock_ends_in_time(self, store, server, opened, url, stalls):
        """A lock of another session is waited for no longer than the deadline."""
        hasty = opened(url, store_deadline_seconds=2.0)
        dispatcher(store, now=None)
        put(store, message(), now=None)
        [lease] = claim(store, "one", now=None)
        with server.locked("own", "ap4r_leased"):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                settle(hasty, (lease, Delivered()), now=None)
            ended = time.monotonic()
            assert ended - began < 2.0 + SLACK_SECONDS + stalls.within(began, ended)
        settle(store, (lease, Delivered()), now=None)

    def test_callers_who_find_every_connection_in_use_end_in_time(self, server, url, opened, stalls):
        """More threads than there are connections wait no longer than the deadline either."""
        with Tunnel(server.port) as tunnel, ThreadPoolExecutor(40) as threads:
            store = opened(server.url("own", port=tunnel.port), store_deadline_seconds=2.5)
            store.prepare()
            tunnel.stop()

            def look(_: int) -> float:
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    store.look()
                return time.monotonic() - began

            began = time.monotonic()
            longest = max(threads.map(look, range(40)))
            assert longest < 2.5 + SLACK_SECONDS + stalls.within(began, time.monotonic())
            tunnel.go_on()
            store.look()


class TestLostConnections:
    def test_a_session_that_was_ended_is_not_noticed(self, store, server, measured):
        """Where the server has ended idle sessions the next call works, over another."""
        put(store, message(), now=None)
        server.end_sessions()
        before = store.retried
        put(store, message(), now=None)
        assert store.status().queues[0].ready == 2
        assert store.retried > before

    def test_the_number_of_retries_is_known(self, store):
        """A store counts the transactions that it tried again."""
        put(store, message())
        assert store.retried == 0

    def test_a_forked_process_opens_its_own_connection(self, store):
        """A child uses connections of its own, and its end does not disturb its parent's."""
        put(store, message("parent"), now=None)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                put(store, message("child"), now=None)
                store.close()
                status = 0
            finally:
                os.write(writing, b"done")
                os._exit(status)
        os.read(reading, 4)
        assert os.waitpid(child, 0)[1] == 0
        before = store.retried
        put(store, message("parent"), now=None)
        assert store.retried == before, "the child has ended the parent's session"
        assert {queue.queue: queue.ready for queue in store.status().queues} == {"parent": 2, "child": 1}
        os.close(reading)
        os.close(writing)

    @pytest.mark.parametrize("where", ["while it connects", "within a transaction", "at the COMMIT"])
    def test_no_file_is_free(self, store, server, monkeypatch, kind, where):
        """What the system refuses is the store's error, nothing is half done, and the next call finds it well."""
        put(store, message())
        no_file = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        with monkeypatch.context() as patch:
            if where == "while it connects":
                store.close()
                patch.setattr(*((socket.socket, "dup") if kind == "mariadb" else (os, "dup")), raising(no_file))
            elif where == "within a transaction":
                patch.setattr(driver_calls, "_changed", raising(no_file))
                patch.setattr(driver_calls, "_run_many", raising(no_file))
            else:
                patch.setattr(driver_calls, "_changed", commit_and_raise(no_file))
            with pytest.raises(StoreUnavailable, match=r"open files|lost") as caught:
                put(store, message())
            assert caught.value.outcome_unknown == (where == "at the COMMIT")
        put(store, message())
        assert store.status().queues[0].ready == (3 if where == "at the COMMIT" else 2)

    def test_nothing_is_opened_before_the_first_call(self, kind):
        """Creating and closing a store opens no connection."""
        store = open_store(KIND_URLS[kind].format(host=f"127.0.0.1:{free_port()}"), Settings())
        assert store.retried == 0
        store.close()


KIND_URLS = {
    "mariadb": f"mysql+pymysql://{USER}:{PASSWORD}@{{host}}/own",
    "postgresql": f"postgresql+psycopg://{USER}:{PASSWORD}@{{host}}/own",
}


class TestSeveralServers:
    def hosts(self, kind, *ports):
        """Name several servers in one URL."""
        return KIND_URLS[kind].format(host=",".join(f"127.0.0.1:{port}" for port in ports))

    def test_the_next_one_is_used(self, server, url, opened, kind):
        """Where the first server of a URL refuses connections the second is used, and kept to."""
        store = opened(self.hosts(kind, free_port(), server.port))
        put(store, message())
        assert store.retried == 0

    def test_one_that_does_not_answer_leaves_time_for_the_next(self, server, url, opened, kind, stalls):
        """Where the first one is silent the second is used within the deadline."""
        with Tunnel(server.port) as tunnel:
            tunnel.stop()
            store = opened(self.hosts(kind, tunnel.port, server.port))
            began = time.monotonic()
            put(store, message())
            ended = time.monotonic()
            assert ended - began < 5.0 + SLACK_SECONDS + stalls.within(began, ended)
            tunnel.go_on()

    def test_all_are_tried(self, server, url, opened, kind):
        """Where none works the error tells what the last one said."""
        store = opened(self.hosts(kind, free_port(), free_port()))
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:"):
            put(store, message())

    def test_the_way_back(self, server, url, opened, kind):
        """When the second one fails later, the first is used again."""
        with Tunnel(server.port) as first, Tunnel(server.port) as second:
            first.stop()
            store = opened(self.hosts(kind, first.port, second.port))
            put(store, message())
            first.go_on()
            second.stop()
            with pytest.raises(StoreUnavailable):
                put(store, message())
            put(store, message())
            second.go_on()

    def test_a_read_only_one_is_passed_over(self, opened, kind):
        """A server that answers but cannot be written to is left for the next, at the start and later."""
        first, second = KINDS[kind](), shared_server(kind)
        try:
            first.start()
            first.make("own")
            first.make_read_only(True)
            second.make("own")
            store = opened(self.hosts(kind, first.port, second.port))
            put(store, message())
            assert second.execute("SELECT count(*) FROM ap4r_messages", "own") == [(1,)]
            first.make_read_only(False)
            second.make_read_only(True)
            with pytest.raises(StoreError):  # no tables yet in the first, whose data would be the same in life
                opened(self.hosts(kind, second.port), create_tables=False).put(Put(new_id(), (message(),)))
            wait_until(lambda: stored(store), "the other one is used", timeout_seconds=10)
            assert first.execute("SELECT count(*) FROM ap4r_messages", "own")[0][0] >= 1
        finally:
            second.make_read_only(False)
            first.remove()


def stored(store):
    """Try a put; tell whether it worked."""
    try:
        put(store, message(), now=None)
    except StoreUnavailable:
        return False
    return True


class TestTransactionPooling:
    def test_every_transaction_may_have_another_session(self, opened):
        """Behind a pooler all works with fewer sessions than clients, and no setting is left behind in any session."""
        server = shared_server("postgresql")
        server.make("own")
        names = ("statement_timeout", "idle_in_transaction_session_timeout", "enable_seqscan", "lock_timeout")
        with TransactionPooler(server.port, USER, "own", sessions=3) as pooler:
            before = {name: pooler.ask_each(f"SHOW {name}") for name in names}
            url = server.url("own", port=pooler.port)
            opened(url).prepare()

            def work(number: int) -> int:
                store, done = opened(url), 0
                owner = f"owner{number}"
                store.register(owner, owner, "1", "")
                for _ in range(5):
                    put(store, *messages(4), now=None)
                    leases = store.claim(owner, 3).leases
                    settle(store, *((lease, Delivered()) for lease in leases), now=None)
                    done += len(leases)
                    store.beat(owner)
                    store.look()
                assert store.unregister(owner) == 0
                return done

            with ThreadPoolExecutor(8) as threads:
                done = sum(threads.map(work, range(8)))
            assert pooler.lent > 8 * 5 * 3
            assert opened(url).status().queues[0].ready == 8 * 5 * 4 - done
            assert {name: pooler.ask_each(f"SHOW {name}") for name in names} == before
            assert pooler.ask_each("SELECT count(*) FROM pg_prepared_statements") == {b"0"}
            assert pooler.ask_each("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == {b"0"}


class TestIdle:
    def test_one_statement_each(self, store, server):
        """A look is one statement, and so is a beat: what an idle dispatcher costs."""
        store.register("one", "one", "1", "")
        for call in (store.look, lambda: store.beat("one")):
            call()
            with server.counting() as statements:
                for _ in range(20):
                    call()
                assert statements() == 20

    @pytest.mark.slow
    @pytest.mark.timeout(180)
    @pytest.mark.parametrize("count", [1, 2])
    def test_an_idle_dispatcher(self, server, url, processes, measured, count):
        """Each idle dispatcher, its intake open, costs at most 0.3 statements a second, by the server's own count."""
        started = []
        for number in range(count):
            listen = f"tcp:{free_port()}:interface=127.0.0.1"
            started.append(processes.twistd_ap4r("--store", url, "--listen", listen, name=f"dispatcher{number}"))
            started[-1].wait_for_output("works on")
        hold_for(10.0, lambda: all(process.running for process in started), "their life")
        with server.counting() as statements:
            hold_for(90.0, lambda: all(process.running for process in started), "their life")
            rate = statements() / 90.0
        measured(f"{rate:.3f} statements a second of {count}")
        assert rate <= 0.3 * count


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"password": "0ther-s3cret"}, "user or password is wrong"),
            ({"database": "nowhere"}, "there is no such database|may not use"),
        ],
    )
    def test_what_waiting_cannot_mend(self, server, url, kind, opened, change, says):
        """A wrong password and a missing database are said to be that, without the password."""
        if kind == "postgresql" and "password" in change:
            url = url.replace(f"//{USER}:", "//stranger:")  # the test's server asks for no password
        wrong = url.replace(PASSWORD, change.get("password", PASSWORD)).replace(
            "/own", f"/{change.get('database', 'own')}"
        )
        with pytest.raises(StoreUnusable, match=says) as caught:
            put(opened(wrong), message())
        assert change.get("password", PASSWORD) not in str(caught.value)

    def test_too_many_connections_are_said_to_be_that(self, server, url, opened):
        """Where the server takes no connection more, the error says so; nothing was stored, and later it works."""
        store = opened(url)
        store.prepare()
        with server.crowded(), pytest.raises(StoreUnavailable, match="connections") as caught:
            put(store, message(), now=None)
        assert not caught.value.outcome_unknown
        put(store, message(), now=None)
        assert store.status().queues[0].ready == 1

    def test_no_listener(self, kind, opened):
        """A server that is not there may come: the error says so much, and where it was looked for."""
        port = free_port()
        with pytest.raises(StoreUnavailable, match=str(port)) as caught:
            put(opened(KIND_URLS[kind].format(host=f"127.0.0.1:{port}")), message())
        assert PASSWORD not in str(caught.value) and not caught.value.outcome_unknown

    @pytest.mark.parametrize(
        "url",
        [
            "mysql+pymysql://u:p@host/",
            "mysql+pymysql://u:p@host:port/db",
            "mysql+pymysql://u:p@one:1,two:x/db",
            "mysql://u:p@host/db",
            "postgresql://u:p@host/db",
            "postgresql+psycopg2://u:p@host/db",
        ],
    )
    def test_urls_that_name_no_store(self, url):
        """A URL of another driver, without a database or with a port that is none is refused, without the password."""
        with pytest.raises(ConfigError) as caught:
            open_store(url, Settings())
        assert ":p@" not in str(caught.value)

    def test_a_server_that_would_cut_values(self, opened, url):
        """MariaDB without strict mode is used in strict mode, whatever the URL says too."""
        server = shared_server("mariadb")
        url = server.make("own")
        server.execute("SET GLOBAL sql_mode = ''")
        try:
            for each in (url, f"{url}?sql_mode=ANSI"):
                store = opened(each)
                put(store, message())
                with pytest.raises(StoreUnavailable, match="Data too long"):
                    store.register("x" * 65, "one", "1", "")
        finally:
            server.execute("SET GLOBAL sql_mode = DEFAULT")

    def test_a_server_that_does_not_sync_is_used_with_a_warning(self, server, url, opened, kind, caplog):
        """A server whose crash could lose messages is used, and the log says which setting to change."""
        name, careless, careful = {
            "mariadb": ("innodb_flush_log_at_trx_commit", "2", "1"),
            "postgresql": ("synchronous_commit", "off", "on"),
        }[kind]
        server.set_globally(name, careless)
        try:
            with caplog.at_level(logging.WARNING, "ap4r"):
                put(opened(url), message())
            [record] = [record for record in caplog.records if name in record.getMessage()]
            assert "set it to" in record.getMessage() and PASSWORD not in record.getMessage()
        finally:
            server.set_globally(name, careful)

    def test_the_driver_that_is_missing(self, monkeypatch):
        """Without psycopg a PostgreSQL URL is refused with what to install."""
        import builtins

        real = builtins.__import__

        def without(name: str, *rest: object) -> object:
            if name.startswith(("psycopg", "ap4r.storage.databases.postgresql.postgresql")):
                raise ImportError("No module named 'psycopg'")
            return real(name, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ConfigError, match=r"ap4r\[postgresql\]"):
            open_store("postgresql+psycopg://u@h/db", Settings())


def test_options_of_the_driver(server, url, opened, kind):
    """What stands behind the ? reaches the driver."""
    name = {"mariadb": "program_name", "postgresql": "application_name"}[kind]
    store = opened(f"{url}?{name}=seen")
    put(store, message())
    if kind == "postgresql":
        assert server.execute("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'seen'") == [(True,)]
    assert store.name.endswith(f"?{name}=seen")
    assert ids(claim(store, dispatcher(store)))


def test_a_socket_in_the_file_system(server, opened, url, kind):
    """A Unix socket serves as well as TCP."""
    folder = server.folder
    address = f"?unix_socket={folder}/s" if kind == "mariadb" else f"?host={folder}&port={server.port}"
    if kind == "mariadb":
        server.execute(f"GRANT ALL ON own.* TO '{USER}'@'localhost' IDENTIFIED BY '{PASSWORD}'")
    store = opened(KIND_URLS[kind].format(host="") + address)
    put(store, message())
    assert ids(claim(store, dispatcher(store)))


def test_sockets_do_not_leak(store, server):
    """Connections that were ended leave no open file behind."""
    put(store, message(), now=None)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        server.end_sessions()
        put(store, message(), now=None)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert isinstance(socket.gethostname(), str)


@pytest.mark.parametrize("leave", ["close", "other server"])
@pytest.mark.parametrize("use", ["reading", "writing"])
def test_a_connection_in_use_is_closed_when_it_is_given_back(use, leave, store, server, kind):
    """A store that is closed, or leaves a server, during a call keeps no session open after the call."""
    names = {"mariadb": "information_schema.processlist WHERE user", "postgresql": "pg_stat_activity WHERE usename"}

    def sessions():
        return server.execute(f"SELECT count(*) FROM {names[kind]} = '{USER}'")[0][0]

    put(store, message(), now=None)
    wait_until(lambda: sessions() == 1, "only the store's own session is left")
    database = store._database
    with getattr(database, use)(5.0) as connection:
        if leave == "close":
            store.close()
        else:
            database.engine().dispose()
        wait_until(lambda: sessions() == 1, "the session in use is open")
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    wait_until(lambda: sessions() == 0, "the session is closed")
