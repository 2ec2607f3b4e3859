"""Receiving once: a redelivered message has no second effect, whatever the database and the connection."""

from __future__ import annotations

import hashlib
import io
import threading
import time

import pytest
from sqlalchemy import text

import ap4r
from ap4r.errors import ConfigError, NotADelivery
from ap4r.settings.settings import Settings
from ap4r.storage.inbox_record import Record, RecordResult, StoredAnswer, key_of
from ap4r.storage.open import open_store
from ap4r.storage.operations.inbox import InboxRecords, runner
from ap4r.storage.schema.tables import Schema
from tests.integration.inbox.effects_table import Receiver, call, delivery
from tests.support.signed import environ_of, secret_text

DAY = 86_400.0


def _without_path(request):
    """Return the environ of a request of which a signature covers id, time and body only."""
    environ = environ_of(request)
    del environ["HTTP_AP4R_SIGNATURE"]
    return environ


def _again(environ, **more):
    """Return a request once more, its body unread."""
    return {**environ, "wsgi.input": io.BytesIO(b"id=12"), **more}


ONCE = ["/async/*"]


class TestRepeats:
    def test_a_repeat_has_no_second_effect(self, effects_table):
        """The first call has the effect; each repeat runs the block and is marked as a repeat."""
        receiver = Receiver(effects_table)
        assert [receiver.receive(delivery())[2] for _ in range(3)] == [b"first", b"again", b"again"]
        assert (effects_table.effects, effects_table.records) == ([1], 1)

    def test_listed_paths_are_answered_before_the_application(self, effects_table):
        """A repeat to a path in `once` is answered 204 and the application is not run."""
        receiver = Receiver(effects_table, once=ONCE)
        assert receiver.receive(delivery())[::2] == (200, b"first")
        assert receiver.receive(delivery()) == (204, {}, b"")
        assert (receiver.calls, effects_table.effects) == (1, [1])

    def test_the_stored_answer(self, effects_table):
        """A repeat gets the answer that the first call stored: status, headers and body."""
        receiver = Receiver(effects_table, once=ONCE)
        receiver.within = lambda handle, conn, one: one.answer(201, b"\x00made\xff", {"X-Made": "yes"})
        assert receiver.receive(delivery())[::2] == (200, b"first")
        for _ in range(2):
            status, headers, body = receiver.receive(delivery())
            assert (status, headers["x-made"], body) == (201, "yes", b"\x00made\xff")
            assert headers["content-length"] == "6"
        assert (receiver.calls, effects_table.effects) == (1, [1])

    def test_other_messages(self, effects_table):
        """Another id, path or sender is another message; with one of a Standard Webhooks sender too."""
        receiver = Receiver(effects_table, once=ONCE, senders={"stripe": [secret_text(2)]})
        other_path = "http://10.0.0.5:8000/async/refund"
        for request in [delivery(1), delivery(2), delivery(1, url=other_path), delivery(1, party=2)]:
            assert receiver.receive(request)[0] == 200
            assert receiver.receive(request)[0] == 204
        assert (effects_table.effects, effects_table.records) == ([1] * 4, 4)

    @pytest.mark.parametrize("once", [[], ["/*"]], ids=["in the block", "before the application"])
    def test_an_unsigned_path_is_no_part_of_the_key(self, effects_table, once):
        """A captured webhook, of which no signature covers the path, is a repeat under every spelling of it."""
        receiver = Receiver(effects_table, once=once, senders={"stripe": [secret_text(2)]})
        environ = _without_path(delivery(party=2))
        assert call(receiver.application, _again(environ))[2] == b"first"
        for path, mount in [("/async/work", ""), ("/async/work/", ""), ("//async/work", ""), ("/async/wo\xffrk", "/x")]:
            status, _, body = call(receiver.application, _again(environ, PATH_INFO=path, SCRIPT_NAME=mount))
            assert (status, body) in [(204, b""), (200, b"again")]
        assert effects_table.effects == [1]

    @pytest.mark.parametrize("once", [[], ["/*"]], ids=["in the block", "before the application"])
    @pytest.mark.parametrize("first_signed", [True, False])
    def test_a_signature_that_was_left_out_makes_no_other_message(self, effects_table, once, first_signed):
        """Without its Ap4r-Signature a captured delivery may be sent anywhere; it stays the same message."""
        receiver = Receiver(effects_table, once=once)
        whole = environ_of(delivery())
        stripped = _without_path(delivery())
        environs = [whole, stripped] if first_signed else [stripped, whole]
        assert call(receiver.application, _again(environs[0]))[2] == b"first"
        for environ in environs:
            for path in ("/async/pay", "/async/work/") if environ is stripped else ("/async/pay",):
                status, _, body = call(receiver.application, _again(environ, PATH_INFO=path))
                assert (status, body) in [(204, b""), (200, b"again")]
        assert effects_table.effects == [1]

    @pytest.mark.parametrize("once", [[], ONCE], ids=["in the block", "before the application"])
    @pytest.mark.parametrize("signed", [True, False])
    def test_what_an_earlier_version_has_recorded_is_recognised(self, effects_table, once, signed):
        """Its records have the path in their keys, and the stored answer with them."""
        receiver = Receiver(effects_table, once=once)
        environ = environ_of(delivery()) if signed else _without_path(delivery())
        key = key_of("ap4r", environ["HTTP_WEBHOOK_ID"], environ["PATH_INFO"])
        record = Record(key, hashlib.sha256(b"id=12").digest(), time.time() + DAY)
        with effects_table.engine.begin() as connection:
            run, inbox = runner(connection), InboxRecords(Schema("ap4r_"), effects_table.engine.dialect.name)
            assert inbox.record(run, record, time.time()) is RecordResult.FIRST
            inbox.answer(run, key, StoredAnswer(201, (), b"made"))
        answers = [call(receiver.application, _again(environ))[::2] for _ in range(3)]
        assert answers == [(201, b"made") if once else (200, b"again")] * 3
        assert effects_table.effects == []

    @pytest.mark.parametrize("once", [[], ONCE], ids=["in the block", "before the application"])
    def test_the_same_id_with_another_body(self, effects_table, once):
        """An id that was used for another content is refused, and nothing of it is done."""
        receiver = Receiver(effects_table, once=once)
        receiver.receive(delivery())
        status, headers, _ = receiver.receive(delivery(body=b"id=13"))
        assert (status, headers["ap4r-retry"]) == (422, "no")
        assert receiver.receive(delivery())[0] in (200, 204)
        assert effects_table.effects == [1]


class TestFailures:
    def test_rolled_back_is_a_first_again(self, effects_table):
        """When the block raises, neither effect nor record is there, and the repeat has the effect."""
        receiver = Receiver(effects_table, once=ONCE)

        def fail(handle, conn, one):
            one.answer(201, b"never")
            raise ZeroDivisionError

        receiver.within = fail
        assert receiver.receive(delivery())[0] == 500
        assert (effects_table.effects, effects_table.records) == ([], 0)
        receiver.within = lambda handle, conn, one: None
        assert receiver.receive(delivery())[::2] == (200, b"first")
        assert effects_table.effects == [1]

    def test_a_failure_after_the_commit_is_no_second_effect(self, effects_table):
        """When the response fails behind the block the record stands: the repeat is answered, not run."""
        receiver = Receiver(effects_table, once=ONCE)

        def fail():
            raise ZeroDivisionError

        receiver.after = fail
        assert receiver.receive(delivery())[0] == 500
        assert receiver.receive(delivery())[0] == 204
        assert effects_table.effects == [1]

    def test_messages_in_the_block_are_of_its_transaction(self, effects_table):
        """Receive, do and send on: a message said in the block is stored with the record, or not at all."""
        receiver = Receiver(effects_table, once=ONCE)

        def say(handle, conn, one):
            handle.async_to("/next", {"id": 1})
            with handle.transaction(conn):
                handle.async_to("/next", {"id": 2})

        def say_and_fail(handle, conn, one):
            say(handle, conn, one)
            raise ZeroDivisionError

        receiver.within = say_and_fail
        assert receiver.receive(delivery())[0] == 500
        assert effects_table.messages == 0
        receiver.within = say

        def fail():
            raise ZeroDivisionError

        receiver.after = fail  # the response fails, and the messages stand all the same
        assert receiver.receive(delivery())[0] == 500
        assert receiver.receive(delivery())[0] == 204
        assert (effects_table.messages, effects_table.effects) == (2, [1])

    def test_within_a_transaction_of_the_application(self, effects_table):
        """Inside an outer transaction the record commits or rolls back with that one."""
        for ends, effects in (("rollback", []), ("commit", [1])):
            receiver = Receiver(effects_table)
            conn = effects_table.open()
            if effects_table.kind == "psycopg autocommit":
                conn.execute("BEGIN")

            def application(environ, start_response, conn=conn, ends=ends):
                handle = environ["ap4r"]
                with handle.transaction(conn), handle.once(conn) as one:
                    effects_table.effect(conn)
                    assert one.first
                    if ends == "rollback":
                        raise ZeroDivisionError
                start_response("200 OK", [])
                return [b""]

            receiver.application._app = application
            assert receiver.receive(delivery())[0] == (200 if ends == "commit" else 500)
            if effects_table.kind == "psycopg autocommit":
                conn.execute(ends)
            conn.close()
            assert (effects_table.effects, effects_table.records) == (effects, len(effects))


class TestInProgress:
    def test_a_call_that_still_runs_is_answered_409(self, effects_table, stalls):
        """While one call is in its block, another is answered 409, marked and with Retry-After, in bounded time."""
        receiver, inside, go_on = Receiver(effects_table, once=ONCE), threading.Event(), threading.Event()
        receiver.within = lambda handle, conn, one: (inside.set(), go_on.wait(20))
        said = []
        first = threading.Thread(target=lambda: said.append(receiver.receive(delivery())))
        first.start()
        assert inside.wait(20)
        begun_at = time.monotonic()
        status, headers, _ = receiver.receive(delivery())
        ended_at = time.monotonic()
        waited_seconds = ended_at - begun_at - stalls.within(begun_at, ended_at)
        go_on.set()
        first.join()
        assert (status, headers["ap4r-busy"]) == (409, "1")
        assert int(headers["retry-after"]) >= 1
        assert waited_seconds < 4.0
        assert said[0][::2] == (200, b"first")
        assert receiver.receive(delivery())[0] == 204
        assert effects_table.effects == [1]

    def test_many_at_once_have_one_effect(self, effects_table):
        """Of many calls of one message at the same moment, one has the effect; the others are answered 204 or 409."""
        receiver = Receiver(effects_table, once=ONCE)
        for number in range(3):
            barrier, said = threading.Barrier(8), []

            def receive(number=number, barrier=barrier, said=said):
                barrier.wait()
                status, _, body = receiver.receive(delivery(number))
                said.append((status, body if status == 200 else b""))

            crowd = [threading.Thread(target=receive) for _ in range(8)]
            for one in crowd:
                one.start()
            for one in crowd:
                one.join()
            assert said.count((200, b"first")) == 1
            assert {status for status, _ in said} <= {200, 204, 409}, said
        assert effects_table.effects == [1, 1, 1]


class TestForgetting:
    def test_a_record_lives_until_no_repeat_can_come(self, plain):
        """Ap4r-Expires and an hour decide: the store's pruning forgets the record then, and not before."""
        receiver = Receiver(plain)
        receiver.receive(delivery())
        with plain.engine.connect() as connection:
            expires_at = connection.execute(text("SELECT MAX(expires_at) FROM ap4r_inbox")).scalar_one() / 1e6
        assert 3 * DAY + 3_000 < expires_at - time.time() < 3 * DAY + 3_700
        store = open_store(plain.url, Settings(store=plain.url))
        try:
            store.prune(now=expires_at - 1)
            assert plain.records == 1
            store.prune(now=expires_at + 1)
            assert plain.records == 0
        finally:
            store.close()

    def test_the_receiving_side_prunes_too(self, plain, monkeypatch):
        """Where no dispatcher prunes the database, a commit now and then is followed by forgetting what is over."""
        from ap4r.inbox import receive

        monkeypatch.setattr(receive, "_cleanup", receive._Cleanup())
        with plain.engine.begin() as connection:
            for number in range(3):
                connection.execute(
                    text("INSERT INTO ap4r_inbox (id, content, recorded_at, expires_at) VALUES (:id, :id, 0, 1)"),
                    {"id": bytes([number]) * 32},
                )
        receiver = Receiver(plain)
        receiver.receive(delivery())
        assert (plain.records, plain.effects) == (1, [1])


class TestKeys:
    def test_a_request_that_is_no_delivery_is_refused(self, plain):
        """An unverified sender can neither suppress a message nor have one recorded, whatever id it sends."""
        receiver = Receiver(plain)
        forged = environ_of(delivery(party=9))
        with pytest.raises(NotADelivery, match="ap4r init"):
            call(receiver.application, forged)
        assert (plain.effects, plain.records) == ([], 0)

    def test_an_application_may_name_a_request_itself(self, plain):
        """With a key of its own `once` works for any request, and never meets a delivery's record."""
        with ap4r.session(plain.url, bell="none") as handle:
            for expected in (True, False):
                conn = plain.open()
                with handle.once(conn, key="order-12", body=b"a") as one:
                    assert one.first is expected
                conn.close()

    def test_listed_paths_need_a_secret(self, plain):
        """`once` paths without any secret are refused at the start, naming the command that makes one."""
        with pytest.raises(ConfigError, match="ap4r init"):
            Receiver(plain, once=ONCE, secrets=None)
