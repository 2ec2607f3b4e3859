"""The routes of the listen address, put together: /healthz, /messages, /queues/NAME and /openapi.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from ap4r.dispatcher.clock.clock_watch import RunningTime
from ap4r.dispatcher.compute.process_pool import Processes
from ap4r.dispatcher.http_server.admission import RequestAdmission, parse_listen
from ap4r.dispatcher.http_server.intake.endpoint import JSON, IntakeEndpoint
from ap4r.dispatcher.http_server.intake.put_batches import PutBatches
from ap4r.dispatcher.http_server.intake.request_reading import READING_PROCESSES, IntakeReading
from ap4r.dispatcher.http_server.openapi import document
from ap4r.dispatcher.http_server.route_rules import RouteRules
from ap4r.dispatcher.http_server.routes import ListenSite
from ap4r.dispatcher.store_worker.store_outage import StoreOutage
from ap4r.dispatcher.store_worker.store_thread import OwnThread, StoreThread
from ap4r.doorbell.ringer import Doorbell
from ap4r.events.bus import Events
from ap4r.message.target import Target
from ap4r.settings.secrets import read_tokens
from ap4r.settings.settings import Settings
from ap4r.storage.store import Store


class Messages(Resource):
    """/messages"""

    isLeaf = True

    def __init__(self, endpoint: IntakeEndpoint) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._endpoint = endpoint

    def render(self, request: Any) -> int:
        """Accept messages as JSON."""
        self._endpoint.post_json(request)
        return NOT_DONE_YET


class Queues(Resource):
    """/queues/NAME"""

    isLeaf = True

    def __init__(self, endpoint: IntakeEndpoint) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._endpoint = endpoint

    def render(self, request: Any) -> int:
        """Accept a message as AP4R did."""
        # Twisted has undone the percent-encoding. Bytes that are not UTF-8 become a character that no queue's name may
        # have.
        name = b"/".join(request.postpath).decode("utf-8", "surrogateescape")
        self._endpoint.post_raw(request, name)
        return NOT_DONE_YET


class OpenApi(Resource):
    """/openapi.json"""

    isLeaf = True

    def __init__(self, document: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._document = document

    def render(self, request: Any) -> int:
        """Return the document."""
        request.respond(200, JSON, self._document, {})
        return NOT_DONE_YET


@dataclass(frozen=True, slots=True)
class PlannedIntake:
    """Settings, and the rules that follow from them."""

    settings: Settings
    admission: RequestAdmission
    reading: IntakeReading


class Router:
    """The intake of one dispatcher process.

    :param store: where messages are put, opened for the intake alone: it is closed when the last put was answered.
    """

    def __init__(
        self, reactor: Any, store: Store, settings: Settings, events: Events, *, time: RunningTime | None = None
    ) -> None:
        """Store the settings.

        :raises ConfigError: others can reach the intake and there is no token, or a token cannot be read.
        """
        self.port = 0
        self._reactor = reactor
        self._listening = parse_listen(settings.listen)
        self._store = StoreThread(
            store, reactor, OwnThread(reactor, "ap4r-intake"), StoreOutage(store.name, reactor, events),
            deadline_seconds=settings.store_deadline_seconds, time=time,
        )  # fmt: skip
        self._gathered = PutBatches(self._store, reactor, Doorbell(store).ring)
        self._computing = Processes(reactor, READING_PROCESSES)
        self._endpoint = IntakeEndpoint(self._gathered, reactor)
        self.take(self.planned(settings))

    def site(self, site: ListenSite) -> Site:
        """Return the site of the listen address, with the intake's routes beside /healthz."""
        putting = RouteRules(
            admit=self._endpoint.refuse, methods=("POST",), most_bytes=lambda: self._reading.intake.most_json
        )
        naming = replace(putting, has_names=True, most_bytes=lambda: self._reading.intake.most_raw)
        site.add("messages", Messages(self._endpoint), putting)
        site.add("queues", Queues(self._endpoint), naming)
        site.add("openapi.json", OpenApi(document()), site.looking)
        return site.made(self._endpoint.post_json)

    @property
    def admission(self) -> RequestAdmission:
        """The rules of who may put messages now."""
        return self._admission

    def start(self) -> None:
        """Get ready to store."""
        self._store.start()

    def planned(self, settings: Settings) -> PlannedIntake:
        """Return the effect of changed settings on the intake, for `take`; nothing has changed yet.

        :raises ConfigError: a token cannot be read, or there is no token any more.
        """
        admission = RequestAdmission(self._listening, read_tokens(settings.intake_token), settings.intake_hosts)
        return PlannedIntake(settings, admission, IntakeReading(settings, self._is_self, self._computing))

    def take(self, planned: PlannedIntake) -> None:
        """Use these settings from now on."""
        self._settings, self._admission, self._reading = planned.settings, planned.admission, planned.reading
        self._endpoint.take_over(planned.admission, planned.reading, planned.settings.intake_rate)

    async def stop(self) -> None:
        """Accept nothing more, and return when everything accepted is answered."""
        self._endpoint.stopping = True
        self._computing.stop()
        await self._gathered.emptied()
        self._store.stop()
        self._store.store.close()

    def _is_self(self, target: Target) -> bool:
        return self._admission.is_self(target, self.port)
