"""Asynchronous applications are refused by name."""

from __future__ import annotations

from functools import partial

import pytest

from ap4r.errors import ConfigError
from ap4r.middleware import AP4RMiddleware
from tests.support.sink import MemorySink
from tests.support.wire import exchange


async def asgi(scope, receive, send):
    """Answer nothing."""


async def generating(scope):
    """Yield nothing."""
    yield scope


class Callable:
    """An application object, as frameworks have them."""

    async def __call__(self, scope, receive, send):
        """Answer nothing."""


class Bound:
    """An object with an asynchronous method."""

    async def app(self, scope, receive, send):
        """Answer nothing."""


@pytest.mark.parametrize(
    "app",
    [asgi, generating, partial(asgi, {}), partial(partial(asgi), {}), Callable(), partial(Callable()), Bound().app],
)
def test_an_asynchronous_application_is_refused_when_it_is_wrapped(app):
    """The error says what AP4RMiddleware wraps."""
    with pytest.raises(ConfigError, match="ASGI"):
        AP4RMiddleware(app, store=MemorySink())


@pytest.mark.parametrize("says", [False, True])
@pytest.mark.parametrize("make", [asgi, lambda *_: generating({})], ids=["coroutine", "asynchronous generator"])
def test_what_has_to_be_awaited_is_refused_at_the_first_call(make, says):
    """Where nothing showed it before; and no coroutine is left to warn of."""

    def hidden(environ, start_response):
        if says:
            environ["ap4r"].async_to("/work")
        return make(environ, start_response, None)

    sink = MemorySink()
    answer = exchange(AP4RMiddleware(hidden, store=sink))
    assert isinstance(answer.raised, ConfigError)
    assert sink.calls == 0
