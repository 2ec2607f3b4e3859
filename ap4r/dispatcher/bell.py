"""The doorbell: a datagram of any content means that something new may be in the store. It claims nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from ap4r.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BellAddress:
    """Where to listen, and what writers are told when that differs."""

    port: int
    interface: str
    advertise: str


def parse_bell(text: str) -> BellAddress | None:
    """Read the setting `bell`, `udp:PORT[:interface=ADDRESS][:advertise=ADDRESS]`; None when it is `none`.

    :raises ConfigError: naming what is wrong.
    """
    if text == "none":
        return None
    kind, _, rest = text.partition(":")
    port, *options = rest.split(":")
    if kind != "udp" or not port.isdigit() or int(port) > 65_535:
        raise ConfigError("bell", f"{text} is not of the form udp:0:interface=127.0.0.1, or none")
    values = {"interface": "127.0.0.1", "advertise": ""}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in values or not equals:
            raise ConfigError("bell", f"{option} means nothing; known are interface= and advertise=")
        values[name] = value
    if values["interface"] in ("", "0.0.0.0") and not values["advertise"]:
        raise ConfigError("bell", f"{text} listens everywhere; say with advertise= where writers reach it")
    return BellAddress(int(port), values["interface"], values["advertise"] or values["interface"])


class Bell(DatagramProtocol):
    """Listens and rings."""

    def __init__(self, rung: Callable[[], None]) -> None:
        self._rung = rung
        self._port: Any = None

    def listen(self, reactor: Any, address: BellAddress) -> str:
        """Begin to listen; the address to advertise.

        :raises ConfigError: the port is taken or the interface is not ours.
        """
        # A longer datagram is cut, which is as well: nothing in it means anything.
        try:
            self._port = reactor.listenUDP(address.port, self, interface=address.interface, maxPacketSize=64)
        except CannotListenError as error:
            where = f"{address.interface}:{address.port}"
            raise ConfigError("bell", f"cannot listen on {where}: {error.socketError}") from error
        return f"udp://{address.advertise}:{self._port.getHost().port}"

    def stop(self) -> None:
        """Listen no more."""
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Ring."""
        self._rung()
