"""The middleware itself: one handle for each request, stored only in the environ.

Nothing is opened or started before the first message is stored.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from ap4r.errors import ConfigError
from ap4r.inbox.lookup import find_inbox
from ap4r.message.depth import MESSAGE_KEY, depth_within
from ap4r.middleware.async_application import refuse_asynchronous
from ap4r.middleware.deliveries.gate import WHY_KEY, DeliveryGate, GateResponse
from ap4r.middleware.deliveries.repeats import Guarded, Repeats, send_answer
from ap4r.middleware.deliveries.verification import path_of
from ap4r.middleware.response.commit_rule import CommitRule, VerdictRule, judge_response
from ap4r.middleware.response.drop_log import DropLog
from ap4r.middleware.response.response import HeldResponse
from ap4r.middleware.response.start import ServerStart
from ap4r.middleware.routes.werkzeug import find_routes
from ap4r.outbox.handle import Handle
from ap4r.outbox.sink import Sink, find_writer
from ap4r.settings.load import load_settings
from ap4r.signing.verified_delivery import ENVIRON_KEY, VerifiedDelivery
from ap4r.storage.app_connection.argument import connection_finder

WSGIApplication = Callable[[dict[str, Any], ServerStart], Iterable[bytes]]


class AP4RMiddleware:
    """Wraps a WSGI application (PEP 3333) and gives its handlers `environ["ap4r"]`.

        application = AP4RMiddleware(application)

    Messages are stored before the last byte of a successful response is sent. If that fails, the client gets 503, or,
    if the response has begun, a connection that is cut.

    When the call returns, `start_response` has been called if the application had called it. If no message waits, the
    start is passed on at once, and lists, tuples and files are returned unchanged. If messages wait, a body of at most
    `buffer_bytes` is read before the call returns, and the messages are stored first; a longer body streams, except for
    its last chunk, and is cut if the store fails at its end.

    With a secret, `environ["ap4r"].delivery` is set for a request that the dispatcher signed, and None for others.

    Inside another AP4RMiddleware of the same store it leaves everything to the outer one: one request, one verdict.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        store: str | Sink | None = None,
        config: str | os.PathLike[str] | None = None,
        verdict: VerdictRule | None = None,
        commit_at: str = "end",
        internal: Iterable[str] = (),
        routes: object = None,
        once: Iterable[str] = (),
        inbox: str | None = None,
        connection: Callable[[], object] | str | None = None,
        **settings: Any,
    ) -> None:
        """Read the settings; open nothing.

        :param store: a URL, or an object with `put`; None means the settings' store.
        :param config: the path of an ap4r.toml.
        :param verdict: replaces `judge_response`.
        :param commit_at: "end" decides before the last byte; "headers", for event streams, before the first, and
            accepts no message after that.
        :param internal: paths that answer 403 to everyone except the dispatcher: "/async/run", or "/async/*" for
            everything below. They are relative to the server's root, SCRIPT_NAME included.
        :param routes: where targets by name are looked up: a werkzeug Map, a Flask application, or the name of a
            Django URL conf. None means the application's own, if it is Flask or Django.
        :param connection: returns the application's connection, so that `transaction()` without an argument means
            `transaction(connection())`, and `join()` and `once()` likewise; a name is a Django alias.
        :param once: paths whose handlers use `once(conn)`, spelt as for `internal`: a repeat is answered before the
            application runs.
        :param inbox: the URL of the database that those handlers write to, if it is not the store's.
        :param settings: single settings, as in ap4r.toml; senders={"stripe": ["whsec_…"]} verifies other senders'
            deliveries too.
        :raises ConfigError: a setting is unknown or out of range, or there are such paths and no secret.
        """
        refuse_asynchronous(app)
        if commit_at not in ("end", "headers"):
            raise ConfigError("commit_at", f"{commit_at!r} is neither 'end' nor 'headers'")
        if not (connection is None or isinstance(connection, str) or callable(connection)):
            raise ConfigError("connection", "it must be a callable that returns a connection, or a Django alias")
        url = store if isinstance(store, str) else None
        sink = None if store is None or isinstance(store, str) else store
        self._app = app
        self._routes = find_routes(app, routes)
        self._settings = load_settings(config, store=url, **settings)
        self._place: object = self._settings.store if sink is None else sink
        self._find_connection = connection_finder(connection)
        self._find_writer = find_writer(sink, self._settings)
        gate = DeliveryGate(self._settings, internal)
        self._gate = gate if gate.is_needed else None
        self._repeats = Repeats(once, find_inbox(inbox, sink, self._settings) if once else None)
        if self._repeats and self._gate is None:
            raise ConfigError("once", "it needs signed deliveries, and no secret is set; `ap4r init` writes one")
        self._rules = CommitRule(
            verdict or judge_response,
            commit_at == "headers",
            self._settings.buffer_bytes,
            DropLog(),
            self._settings.success,
        )

    def __call__(self, environ: dict[str, Any], start_response: ServerStart) -> Iterable[bytes]:
        """Call the application with a handle, and send its response to the server."""
        delivery: VerifiedDelivery | None = None
        if self._gate is not None and self._gate.concerns(environ):
            admitted = self._gate.admit(environ)
            if isinstance(admitted, GateResponse):
                return admitted.answer(environ, start_response)
            delivery = admitted
            if delivery is not None and self._repeats:
                known = self._repeats.answer(environ, delivery, time.time())
                if known is not None:
                    return send_answer(known, environ, start_response)
        outer = environ.get(ENVIRON_KEY)
        if outer is not None and isinstance(outer, Handle) and not outer.closed and _is_same(outer.place, self._place):
            outer.delivery = outer.delivery or delivery
            outer.why_no_delivery = outer.why_no_delivery or environ.get(WHY_KEY, "")
            return self._app(environ, start_response)
        traceparent = environ.get("HTTP_TRACEPARENT")
        handle = Handle(
            self._find_writer, self._settings, self._place, traceparent, delivery, self._routes, self._find_connection
        )
        handle.path = path_of(environ)
        if WHY_KEY in environ:
            handle.why_no_delivery = environ[WHY_KEY]
        if MESSAGE_KEY in environ:
            handle.depth = depth_within(environ)
        response = HeldResponse(handle, self._rules, environ, start_response, outer)
        guarded = Guarded(self._app, handle, response.file_wrapper)
        try:
            return response.finish(guarded(environ, response.start_response))
        except BaseException as error:
            instead = response.fail(error)
            if instead is None:
                raise
            return instead


def _is_same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, str) and one == other)
