"""transaction(conn) and join(conn): the same promises over every kind of connection."""

from __future__ import annotations

import threading

import pytest

from ap4r.errors import Ap4rError, ConnectionUnfit, OptionRefused, PayloadTooLarge, SchemaMismatch, TransactionLost
from ap4r.message.message import new_id
from tests.integration.foreign.subjects import AUTOCOMMIT, SUBJECTS


def in_thread(work):
    """Run in a thread of its own; return what it raised."""
    raised = []

    def run():
        try:
            work()
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return raised[0] if raised else None


def test_a_clean_end_commits_both(case):
    """The row and the message are there, whatever the request comes to, and nothing is in the handle's own store."""
    with pytest.raises(KeyError), case.session() as handle:
        with handle.transaction(**case.subject.given) as scope:
            assert scope.owns_commit
            case.subject.order(1)
            handle.async_to("/mail", {"order": 1})
            handle.async_to("/later", delay_seconds=0.0)
            assert case.shop.orders == []
        assert case.shop.orders == [1]
        raise KeyError
    assert case.shop.deliver() == ["/later", "/mail"]
    assert case.elsewhere.calls == 0


def test_an_exception_undoes_both(case):
    """It comes through; row and message are gone, and the connection can be used again."""
    with case.session() as handle:
        with pytest.raises(KeyError), handle.transaction(**case.subject.given):
            case.subject.order(1)
            handle.async_to("/mail")
            raise KeyError
        with handle.transaction(**case.subject.given):
            case.subject.order(2)
            handle.async_to("/second")
    assert case.shop.orders == [2]
    assert case.shop.deliver() == ["/second"]


def test_within_an_open_transaction_it_ends_nothing(case):
    """It is a savepoint, and says so; the application's own end decides."""
    subject = case.subject
    for end, expected in ((subject.rollback, []), (subject.commit, [1])):
        subject.begin()
        subject.order(1)
        with case.session() as handle, handle.transaction(**subject.given) as scope:
            assert not scope.owns_commit
            handle.async_to("/mail")
        assert case.shop.orders == []
        end()
        assert case.shop.orders == expected
    assert case.shop.deliver() == ["/mail"]


def test_within_an_open_transaction_an_exception_undoes_the_block_alone(case):
    """What the application did before stays, and it may go on."""
    subject = case.subject
    subject.begin()
    subject.order(1)
    with case.session() as handle:
        with pytest.raises(KeyError), handle.transaction(**subject.given):
            subject.order(2)
            handle.async_to("/dropped")
            raise KeyError
        with handle.transaction(**subject.given):
            subject.order(3)
            handle.async_to("/kept")
    subject.commit()
    assert case.shop.orders == [1, 3]
    assert case.shop.deliver() == ["/kept"]


def test_strict_refuses_an_open_transaction(case):
    """Before anything is done; the transaction stays as it is."""
    subject = case.subject
    with case.session() as handle:
        with handle.transaction(**subject.given, strict=True) as scope:
            assert scope.owns_commit
            subject.order(1)
        subject.begin()
        subject.order(2)
        with pytest.raises(ConnectionUnfit, match="strict"), handle.transaction(**subject.given, strict=True):
            raise AssertionError("the block must not run")
        subject.commit()
    assert case.shop.orders == [1, 2]


def test_a_block_in_a_block(case):
    """The inner one is a savepoint: its exception takes its own messages, the outer one commits the others."""
    with case.session() as handle, handle.transaction(**case.subject.given) as outer:
        handle.async_to("/outer")
        with pytest.raises(KeyError), handle.transaction(**case.subject.given) as inner:
            assert (outer.owns_commit, inner.owns_commit) == (True, False)
            handle.async_to("/dropped")
            case.subject.order(1)
            raise KeyError
        with handle.transaction(**case.subject.given):
            handle.async_to("/inner")
            case.subject.order(2)
        with pytest.raises(KeyError), handle.transaction():
            handle.async_to("/group")
            raise KeyError
        with handle.transaction():
            handle.async_to("/grouped")
    assert case.shop.orders == [2]
    assert case.shop.deliver() == ["/grouped", "/inner", "/outer"]


def test_a_savepoint_of_the_applications_takes_its_messages_back(case):
    """What was said in join() within it is gone with it; the rest stays."""
    subject = case.subject
    subject.begin()
    with case.session() as handle, handle.join(**subject.given):
        handle.async_to("/kept")
        with pytest.raises(KeyError), subject.savepoint():
            subject.order(1)
            handle.async_to("/undone")
            raise KeyError
        handle.async_to("/also")
        subject.order(2)
    subject.commit()
    assert case.shop.orders == [2]
    assert case.shop.deliver() == ["/also", "/kept"]


@pytest.mark.parametrize("as_block", [True, False], ids=["with", "call"])
def test_join_writes_at_the_call_and_ends_nothing(case, as_block):
    """As a block and as a mere call; commit and rollback are the application's."""
    subject = case.subject
    for end in (subject.rollback, subject.commit):
        with pytest.raises(KeyError), case.session() as handle:
            subject.begin()
            subject.order(1)
            joined = handle.join(**subject.given)
            if as_block:
                with joined as scope:
                    assert not scope.owns_commit
                    handle.async_to("/mail")
                handle.async_to("/with-the-session")
            else:
                handle.async_to("/mail")
            end()
            raise KeyError
    assert case.shop.orders == [1]
    assert case.shop.deliver() == ["/mail"]
    assert case.elsewhere.calls == 0


def test_a_joined_transaction_that_has_ended_takes_no_more(case):
    """A message would otherwise wait for a commit that never comes."""
    subject = case.subject
    with case.session() as handle:
        subject.begin()
        subject.order(1)
        handle.join(**subject.given)
        handle.async_to("/mail")
        subject.commit()
        with pytest.raises(ConnectionUnfit, match="ended"):
            handle.async_to("/too-late")
    assert case.shop.deliver() == ["/mail"]


@pytest.mark.parametrize("case", AUTOCOMMIT, indirect=True)
def test_join_refuses_an_autocommit_connection(case):
    """Each statement would commit by itself; inside of an explicit transaction it is right."""
    with case.session() as handle:
        with pytest.raises(ConnectionUnfit, match="autocommit"):
            handle.join(**case.subject.given)
        handle.async_to("/elsewhere")
    assert case.shop.rows("messages") == 0
    assert case.elsewhere.paths == ["/elsewhere"]


def test_messages_that_wait_for_something_else_are_refused(case):
    """Within the application's transaction there is only its own end to wait for."""
    subject = case.subject
    with case.session() as handle, handle.transaction(**subject.given):
        for on in ("failure", "always"):
            with pytest.raises(OptionRefused, match="on="):
                handle.async_to("/mail", on=on)
            with handle.transaction(), pytest.raises(OptionRefused, match="on="):
                handle.async_to("/mail", on=on)
        with handle.join(**subject.given), pytest.raises(OptionRefused, match="on="):
            handle.async_to("/mail", on="always")
    assert case.shop.deliver() == []


def test_a_transaction_that_the_application_ends_within_the_block_is_reported(case):
    """What was said before a commit is committed with its row, what comes after it is undone, and the end raises."""
    subject = case.subject
    if case.kind.startswith("django"):
        pytest.skip("Django itself refuses a commit within its block")
    with case.session() as handle:
        with pytest.raises(TransactionLost, match="within the block"), handle.transaction(**subject.given):
            subject.order(1)
            handle.async_to("/with-1")
            subject.commit()
            subject.order(2)
            if case.kind not in AUTOCOMMIT:
                handle.async_to("/with-2")
        with handle.transaction(**subject.given):
            subject.order(3)
            handle.async_to("/next")
    # What the application committed itself stays; with autocommit that is each statement.
    assert case.shop.orders == ([1, 2, 3] if case.kind in AUTOCOMMIT else [1, 3])
    assert case.shop.deliver() == ["/next", "/with-1"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_nothing_is_said_where_it_would_commit_by_itself(case, end):
    """After the application's own end an autocommit connection takes no message, and the block still raises."""
    subject = case.subject
    if case.kind not in AUTOCOMMIT:
        pytest.skip("elsewhere the next statement begins a transaction")
    with case.session() as handle:
        with pytest.raises(TransactionLost), handle.transaction(**subject.given):
            getattr(subject, end)()
            with pytest.raises(TransactionLost, match="within the block"):
                handle.async_to("/mail")
        with handle.transaction(**subject.given):
            handle.async_to("/next")
    assert case.shop.deliver() == ["/next"]


def test_an_undone_transaction_is_reported(case):
    """A rollback of the application's takes the block's messages, and what it did after that goes too."""
    subject = case.subject
    if case.kind.startswith("django") or case.kind in AUTOCOMMIT:
        pytest.skip("Django refuses a rollback within its block; with autocommit each statement stays")
    with (
        case.session() as handle,
        pytest.raises(TransactionLost, match="within the block"),
        handle.transaction(**subject.given),
    ):
        subject.order(1)
        handle.async_to("/mail")
        subject.rollback()
        subject.order(2)
    assert (case.shop.orders, case.shop.deliver()) == ([], [])


@pytest.mark.parametrize("outer", [False, True], ids=["owning", "within"])
def test_a_savepoint_within_the_block_takes_its_messages_back(case, outer):
    """What the application undoes is not delivered, the rest is, and the block's end does not take it for a loss."""
    subject = case.subject
    if outer:
        subject.begin()
    with case.session() as handle, handle.transaction(**subject.given) as scope:
        assert scope.owns_commit is not outer
        subject.order(1)
        handle.async_to("/kept")
        with pytest.raises(KeyError), subject.savepoint():
            subject.order(2)
            handle.async_to("/undone")
            with handle.transaction():
                handle.async_to("/undone-group")
            raise KeyError
        with subject.savepoint():
            subject.order(3)
            handle.async_to("/released")
    if outer:
        assert case.shop.orders == []
        subject.commit()
    assert case.shop.orders == [1, 3]
    assert case.shop.deliver() == ["/kept", "/released"]


def test_all_that_was_said_can_be_undone(case):
    """A block whose only messages a savepoint has taken back commits the rest."""
    subject = case.subject
    with case.session() as handle, handle.transaction(**subject.given):
        subject.order(1)
        with pytest.raises(KeyError), subject.savepoint():
            handle.async_to("/undone")
            raise KeyError
    assert (case.shop.orders, case.shop.deliver()) == ([1], [])


def test_a_block_takes_no_more_than_a_request_may_say(case):
    """The limit holds within a block, for that block; the next one starts at zero."""
    with case.session(max_messages=2) as handle:
        for number in (1, 2):
            with handle.transaction(**case.subject.given):
                handle.async_to(f"/{number}/a")
                handle.async_to(f"/{number}/b")
                with pytest.raises(PayloadTooLarge, match="max_messages"):
                    handle.async_to("/more")
    assert case.shop.deliver() == ["/1/a", "/1/b", "/2/a", "/2/b"]


def test_a_block_without_messages_bears_an_early_end(case):
    """A view that gives up, rolls back and returns has said nothing that could be lost."""
    if case.kind.startswith("django"):
        pytest.skip("Django itself refuses a rollback within its block")
    with case.session() as handle, handle.transaction(**case.subject.given):
        case.subject.order(1)
        case.subject.rollback()
        case.subject.order(2)
    assert case.shop.orders == [2]


def test_a_failed_transaction_is_refused(case):
    """What PostgreSQL has given up, nothing can be added to; nothing is sent."""
    subject = case.subject
    if case.database != "postgresql":
        pytest.skip("only PostgreSQL gives a transaction up after an error")
    subject.begin()
    with pytest.raises(Exception, match="nonsense"):
        subject.run("SELECT nonsense")
    with case.session() as handle:
        with pytest.raises(ConnectionUnfit, match="failed"), handle.transaction(**subject.given):
            raise AssertionError("the block must not run")
        with pytest.raises(ConnectionUnfit, match="failed"):
            handle.join(**subject.given)
    subject.rollback()
    with case.session() as handle, handle.transaction(**subject.given):
        handle.async_to("/mail")
    assert case.shop.deliver() == ["/mail"]


def test_a_failure_that_was_swallowed_is_reported_at_the_end(case):
    """The block's exit raises, for its COMMIT could only be a ROLLBACK."""
    if case.database != "postgresql":
        pytest.skip("only PostgreSQL gives a transaction up after an error")
    with case.session() as handle:
        with pytest.raises(Ap4rError, match="failed"), handle.transaction(**case.subject.given):
            case.subject.order(1)
            handle.async_to("/mail")
            with pytest.raises(Exception, match="nonsense"):
                case.subject.run("SELECT nonsense")
        with handle.transaction(**case.subject.given):
            case.subject.order(2)
    assert case.shop.orders == [2]
    assert case.shop.deliver() == []


def test_a_closed_connection_is_refused(case):
    """With its name and the reason."""
    if case.kind.startswith(("django", "session", "scoped")):
        pytest.skip("it opens itself again")
    case.subject.close()
    with case.session() as handle:
        with pytest.raises(ConnectionUnfit, match="closed"), handle.transaction(**case.subject.given):
            raise AssertionError("the block must not run")
        with pytest.raises(ConnectionUnfit, match="closed"):
            handle.join(**case.subject.given)


def test_another_thread_is_refused_while_a_block_is_open(case):
    """Two threads in one transaction would commit each other's halves. Django gives each its own."""
    if case.kind.startswith(("django", "scoped")):
        pytest.skip("each thread has its own")
    with case.session() as handle:

        def elsewhere():
            with handle.transaction(**case.subject.given):
                raise AssertionError("the block must not run")

        with handle.transaction(**case.subject.given):
            case.subject.order(1)
            assert isinstance(in_thread(elsewhere), ConnectionUnfit)
            handle.async_to("/mail")
    assert case.shop.orders == [1]
    assert case.shop.deliver() == ["/mail"]


@pytest.mark.parametrize("case", ["sqlite3", "sqlite3-autocommit"], indirect=True)
def test_a_thread_that_is_not_the_owner_is_refused(case):
    """sqlite3 lets only the thread that has connected use a connection; the error says so."""
    with case.session() as handle:

        def elsewhere():
            with handle.transaction(**case.subject.given):
                raise AssertionError("the block must not run")

        error = in_thread(elsewhere)
        assert isinstance(error, ConnectionUnfit), error
        assert "thread" in str(error)


def test_another_version_of_the_tables_is_refused(case, forget_tables):
    """Before anything is written, naming the command; an older code's tables are never written to."""
    version = case.shop.schema.version_table
    case.shop.execute(f"UPDATE {version} SET version_num = '0.9'")
    try:
        with case.session() as handle:
            with (
                pytest.raises(SchemaMismatch, match="ap4r migrate --store") as caught,
                handle.transaction(**case.subject.given),
            ):
                raise AssertionError("the block must not run")
            assert caught.value.found == "0.9"
            assert "s3cret" not in str(caught.value)
            case.subject.begin()
            case.subject.order(1)
            with pytest.raises(SchemaMismatch):
                handle.join(**case.subject.given)
            case.subject.commit()
    finally:
        case.shop.execute(f"UPDATE {version} SET version_num = '{_version()}'")
    assert case.shop.orders == [1]
    assert case.shop.rows("puts") == 0


def test_missing_tables_are_refused(case):
    """Under another prefix there are none; the transaction that met that is as well as before."""
    with case.session(table_prefix="other_") as handle:
        with (
            pytest.raises(SchemaMismatch, match="AP4R_TABLE_PREFIX=other_ ap4r migrate --store"),
            handle.transaction(**case.subject.given),
        ):
            raise AssertionError("the block must not run")
        case.subject.begin()
        case.subject.order(1)
        with pytest.raises(SchemaMismatch), handle.transaction(**case.subject.given):
            raise AssertionError("the block must not run")
        case.subject.commit()
    assert case.shop.orders == [1]


def test_many_messages_in_several_queues(case):
    """More than a statement takes at once, ready and scheduled ones."""
    with (
        case.session(max_messages=2_000) as handle,
        handle.transaction(**case.subject.given),
        handle.transaction(),
    ):
        for number in range(1_200):
            handle.async_to(f"/q{number % 7}/x", {"n": number}, delay_seconds=60.0 * (number % 2))
    assert case.shop.rows("messages") == 1_200
    assert case.shop.rows("ready") == case.shop.rows("scheduled") == 600
    assert case.shop.rows("lanes") == 7
    assert case.shop.rows("puts") == 1


@pytest.mark.parametrize("case", [name for name in SUBJECTS if "psycopg" in name or "sqlite3" in name], indirect=True)
def test_a_message_that_could_not_be_written_leaves_the_transaction_well(case, monkeypatch):
    """Where the handler bears the error, the block's other rows and messages are committed."""
    known = new_id()
    with case.session() as handle, handle.transaction(**case.subject.given):
        case.subject.order(1)
        handle.async_to("/good")
        with monkeypatch.context() as patched:
            patched.setattr("ap4r.describe.describe.new_id", lambda: known)
            handle.async_to("/first")
            with pytest.raises(Ap4rError):
                handle.async_to("/second")
        handle.async_to("/other")
    assert case.shop.orders == [1]
    assert case.shop.deliver() == ["/first", "/good", "/other"]


def test_a_message_that_the_database_refuses_takes_the_block_with_it(case, monkeypatch):
    """The row is undone too, and the error is ap4r's own, with the driver's as its cause."""
    known = new_id()
    monkeypatch.setattr("ap4r.describe.describe.new_id", lambda: known)
    with case.session() as handle:
        with handle.transaction(**case.subject.given):
            handle.async_to("/first")
        with pytest.raises(Ap4rError) as caught, handle.transaction(**case.subject.given):
            case.subject.order(1)
            handle.async_to("/second")
        assert caught.value.__cause__ is not None
        case.subject.begin()
        case.subject.order(2)
        with handle.join(**case.subject.given), pytest.raises(Ap4rError):
            handle.async_to("/third")
        case.subject.commit()
    assert case.shop.orders == [2]
    assert case.shop.rows("messages") == case.shop.rows("ready") == case.shop.rows("puts") == 1


def _version():
    from ap4r.storage.schema.tables import VERSION

    return VERSION
