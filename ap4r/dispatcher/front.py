"""The listening address put together: /healthz, and beside it the intake with all that it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from twisted.web.server import Site

from ap4r.dispatcher.admission import Admission, parse_listen
from ap4r.dispatcher.clock_watch import RunningTime
from ap4r.dispatcher.compute import Processes
from ap4r.dispatcher.door import Door
from ap4r.dispatcher.gather import Gathered
from ap4r.dispatcher.intake_reading import READING_PROCESSES, IntakeReading
from ap4r.dispatcher.listen_site import ListenSite
from ap4r.dispatcher.openapi import document
from ap4r.dispatcher.outage import Outage
from ap4r.dispatcher.paths import Messages, OpenApi, Queues
from ap4r.dispatcher.rules import Rules
from ap4r.dispatcher.store_thread import OwnThread, StoreThread
from ap4r.outbox.doorbell import Doorbell
from ap4r.outbox.tokens import read_tokens
from ap4r.settings import Settings
from ap4r.storage.store import Store
from ap4r.subscribers import Events
from ap4r.target import Target


@dataclass(frozen=True, slots=True)
class Planned:
    """Settings, and the rules that come of them."""

    settings: Settings
    admission: Admission
    reading: IntakeReading


class Front:
    """The intake of one dispatcher process.

    :param store: where messages are put, opened for the intake alone: it is closed when the last put was answered.
    """

    def __init__(
        self, reactor: Any, store: Store, settings: Settings, events: Events, *, time: RunningTime | None = None
    ) -> None:
        """Take the settings.

        :raises ConfigError: others can reach the intake and there is no token, or a token cannot be read.
        """
        self.port = 0
        self._reactor = reactor
        self._listening = parse_listen(settings.listen)
        self._store = StoreThread(
            store, reactor, OwnThread(reactor, "ap4r-intake"), Outage(store.name, reactor, events),
            deadline_seconds=settings.store_deadline_seconds, time=time,
        )  # fmt: skip
        self._gathered = Gathered(self._store, reactor, Doorbell(store).ring)
        self._computing = Processes(reactor, READING_PROCESSES)
        self._door = Door(self._gathered, reactor)
        self.take(self.planned(settings))

    def site(self, site: ListenSite) -> Site:
        """Return what answers at the listening address, with the intake's routes beside /healthz."""
        putting = Rules(admit=self._door.refuse, methods=("POST",), most_bytes=lambda: self._reading.intake.most_bytes)
        site.add("messages", Messages(self._door), putting)
        site.add("queues", Queues(self._door), replace(putting, has_names=True))
        site.add("openapi.json", OpenApi(document()), site.looking)
        return site.made(self._door.post_json, putting.most_bytes)

    @property
    def admission(self) -> Admission:
        """Who may put messages now."""
        return self._admission

    def start(self) -> None:
        """Be ready to store."""
        self._store.start()

    def planned(self, settings: Settings) -> Planned:
        """Give what changed settings make of the intake, for `take`; nothing has changed yet.

        :raises ConfigError: a token cannot be read, or there is none any more.
        """
        admission = Admission(self._listening, read_tokens(settings.intake_token), settings.intake_hosts)
        return Planned(settings, admission, IntakeReading(settings, self._is_self, self._computing))

    def take(self, planned: Planned) -> None:
        """Go by these settings from now on."""
        self._settings, self._admission, self._reading = planned.settings, planned.admission, planned.reading
        self._door.take_over(planned.admission, planned.reading, planned.settings.intake_rate)

    async def stop(self) -> None:
        """Take nothing more, and return when what was taken is answered."""
        self._door.stopping = True
        self._computing.stop()
        await self._gathered.emptied()
        self._store.stop()
        self._store.store.close()

    def _is_self(self, target: Target) -> bool:
        return self._admission.is_self(target, self.port)
