"""Why an application may have refused a delivery or left it unanswered, and which setting helps. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from ap4r.dispatcher.delivery.caller_identity import CallerIdentity
from ap4r.message.message import Message
from ap4r.outcome.outcome import Answer, Exchange, NoResponse, Reason

AGAIN_SECONDS = 600.0  #: between two pieces of advice about the same queue and status
MOST_REMEMBERED = 1_000
_SEVERAL = 2  #: calls at once that may wait for each other in a server
_TOO_MANY = (
    "a server with fewer threads makes calls, and people after them, wait, and runs calls that were already given up; "
    "keep concurrency, of all dispatchers together, below the number of requests that it processes at once"
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: The beginning of our own middleware's refusals.
_OURS = b"ap4r:"


class MisconfigurationHints:
    """Returns each hint once in a while for a queue and status, so that a thousand failures are one line."""

    def __init__(self) -> None:
        self._told_at: dict[tuple[str, int], float] = {}

    def about(self, message: Message, caller: CallerIdentity, exchange: Exchange, now: float) -> str | None:
        """Return the likely cause of an answer of our own application, and what to change; None without one.

        :param now: monotonic seconds.
        """
        if not isinstance(exchange, Answer) or message.target.upstream is None:
            return None
        advice = advise(exchange, message.target.url, message.target.upstream, caller)
        return advice if advice is not None and self._is_due((message.queue, exchange.status), now) else None

    def about_silence(self, message: Message, exchange: Exchange, in_flight: int, now: float) -> str | None:
        """Return the likely cause of a call that our own application did not answer in time; None without one.

        :param in_flight: the calls in flight, including this one.
        """
        is_silence = isinstance(exchange, NoResponse) and exchange.called and exchange.reason is Reason.TIMEOUT
        if not is_silence or message.target.upstream is None or in_flight < _SEVERAL:
            return None
        return _TOO_MANY if self._is_due((message.queue, 0), now) else None

    def _is_due(self, key: tuple[str, int], now: float) -> bool:
        if now - self._told_at.get(key, float("-inf")) < AGAIN_SECONDS:
            return False
        if len(self._told_at) >= MOST_REMEMBERED:
            self._told_at.clear()
        self._told_at[key] = now
        return True


def advise(answer: Answer, url: str, upstream: str, caller: CallerIdentity) -> str | None:
    """Return what an answer most likely means: a redirect, 400, 401 or 403 that settings correct, not the handler."""
    table = f"[upstreams.{upstream}]"
    if answer.status in _REDIRECTS:
        return _about_redirect(answer.headers.get("location", ""), url, table, caller)
    if answer.status == 400:
        if caller.host:
            return f"does the application answer to the host {caller.host} (Django: ALLOWED_HOSTS)? See host of {table}"
        return f"the application may not accept the host in the request (Django: ALLOWED_HOSTS); set host of {table}"
    if answer.status == 401:
        if caller.authorization:
            return f"it requires other credentials than auth of {table} names; the message waits"
        return f"it requires credentials: see auth of {table}; the message waits"
    if answer.status == 403:
        if answer.body.startswith(_OURS):
            lacks = (
                "the application does not share the dispatcher's secret" if caller.secrets else "a secret is missing"
            )
            return f"it is an internal path, and {lacks}: see secrets of {table}"
        if not caller.secrets:
            return (
                "a form protection (CSRF) may have refused it; set a secret (`ap4r init`), and let signed deliveries "
                "in with ap4r.contrib.django or ap4r.contrib.flask"
            )
        return (
            "a form protection (CSRF) may have refused it; let signed deliveries in with ap4r.contrib.django or "
            f"ap4r.contrib.flask, and see that the application has the same secrets as {table}"
        )
    return None


def _about_redirect(location: str, url: str, table: str, caller: CallerIdentity) -> str:
    try:
        to = urlsplit(location)
    except ValueError:
        to = urlsplit("")
    path = url.partition("?")[0]
    if to.path == path + "/" or to.path + "/" == path:
        return f"the action's path is {to.path!r}, with another slash at its end; call that one"
    if to.scheme == "https" and caller.scheme != "https":
        return f'the application requires https (Django: SECURE_SSL_REDIRECT); set scheme = "https" of {table}'
    if to.netloc and to.netloc != caller.host and to.path == path:
        return f"the application uses another host; set host of {table} to {to.netloc.rpartition('@')[2][:100]!r}"
    if to.scheme == "https":
        return (
            "the application does not see https in X-Forwarded-Proto (Django: SECURE_PROXY_SSL_HEADER; does its server "
            "pass the header on?)"
        )
    return f"a redirect is never followed; is a login required, or does {table} need host or scheme?"
