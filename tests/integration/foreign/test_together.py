"""A block without an argument within a block, where the handle knows the connection: written together, at its end."""

from __future__ import annotations

import pytest

from ap4r.storage.app_connection.tables import Tables


@pytest.fixture
def writes(monkeypatch):
    """Count how many messages each write has."""
    counted = []
    write = Tables.write

    def counting(self, foreign, put):
        counted.append(len(put.messages))
        return write(self, foreign, put)

    monkeypatch.setattr(Tables, "write", counting)
    return counted


def found(case):
    """Return the function that finds the connection, as an argument of the middleware."""
    return (
        next(iter(case.subject.given.values())) if "using" in case.subject.given else lambda: case.subject.given["conn"]
    )


def test_many_are_one_write(case, writes):
    """Both blocks mean the connection, and the inner one's messages take one write."""
    with case.session(connection=found(case)) as handle, handle.transaction() as scope:
        assert scope.owns_commit
        case.subject.order(1)
        with handle.transaction() as inner:
            assert not inner.owns_commit
            for number in range(200):
                handle.async_to(f"/{number:03}")
            assert writes == []
    assert writes == [200]
    assert case.shop.orders == [1]
    assert case.shop.rows("messages") == 200


def test_the_inner_block_undoes_its_rows(case, writes):
    """It is a savepoint: an exception takes its rows and its messages, and nothing else."""
    with case.session(connection=found(case)) as handle, handle.transaction():
        case.subject.order(1)
        handle.async_to("/kept")
        with pytest.raises(KeyError), handle.transaction():
            case.subject.order(2)
            handle.async_to("/undone")
            raise KeyError
    assert (case.shop.orders, case.shop.deliver(), writes) == ([1], ["/kept"], [1])


def test_within_a_join(case, writes):
    """So it is in a transaction that was joined."""
    case.subject.begin()
    with case.session(connection=found(case)) as handle, handle.join(), handle.transaction():
        handle.async_to("/1")
        handle.async_to("/2")
    case.subject.commit()
    assert (case.shop.deliver(), writes) == (["/1", "/2"], [2])


def test_savepoints_of_the_library_within(case, writes):
    """What is said in one goes where it goes: rolled back with it, or kept."""
    if not case.kind.startswith(("django", "session", "scoped", "connection")):
        pytest.skip("a driver sees no savepoints")
    with case.session(connection=found(case)) as handle, handle.transaction(), handle.transaction():
        handle.async_to("/before")
        with pytest.raises(KeyError), case.subject.savepoint():
            case.subject.order(1)
            handle.async_to("/undone")
            raise KeyError
        with case.subject.savepoint():
            handle.async_to("/within")
        handle.async_to("/after")
    assert case.shop.orders == []
    assert case.shop.deliver() == ["/after", "/before", "/within"]
