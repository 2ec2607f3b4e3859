"""The doorbell: a datagram of any content means that something new may be in the store. It claims nothing itself."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from ap4r.errors import ConfigError

#: The longest path of a socket on every system (sun_path of unix(7) less its end).
MOST_PATH_BYTES = 103
_EVERYWHERE = ("", "0.0.0.0", "::")
#: The setting to listen where writers on other hosts of the store can ring.
AUTOMATIC = "auto"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BellAddress:
    """Where to listen: a path, or a port, and the address for writers if that differs."""

    port: int = 0
    interface: str = ""
    advertise: str = ""
    path: str = ""
    mode: int = 0o660


def parse_bell(text: str) -> BellAddress | None:
    """Parse the setting `bell`; None when it is `none`.

    Otherwise it is `udp:PORT[:interface=ADDRESS][:advertise=NAME]`, or, for writers on this host only,
    `unix:/PATH[:mode=660]`.
    An IPv6 address is written in brackets.

    :raises ConfigError: the text says what is wrong.
    """
    if text == "none":
        return None
    if text.startswith("unix:"):
        return _parse_unix(text)
    # The colons within an IPv6 address are not separators.
    text = re.sub(r"\[[0-9A-Fa-f:.]*\]", lambda found: found[0].replace(":", "_"), text)
    kind, _, rest = text.partition(":")
    port, *options = rest.split(":")
    if kind != "udp" or not port.isdigit() or int(port) > 65_535:
        raise ConfigError("bell", f"{text} is not of the form udp:0:interface=127.0.0.1, or none")
    values = {"interface": "127.0.0.1", "advertise": ""}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in values or not equals:
            raise ConfigError("bell", f"{option} is unknown; known are interface= and advertise=")
        values[name] = value.replace("_", ":").strip("[]") if value.startswith("[") else value
    if values["interface"] in _EVERYWHERE and not values["advertise"]:
        raise ConfigError("bell", f"{text} listens on all interfaces; set advertise= to its name for writers")
    return BellAddress(int(port), values["interface"], values["advertise"] or values["interface"])


def _parse_unix(text: str) -> BellAddress:
    path, *options = text.removeprefix("unix:").split(":")
    if not path.startswith("/") or len(path.encode()) > MOST_PATH_BYTES:
        raise ConfigError("bell", f"{text} has no absolute path of at most {MOST_PATH_BYTES} bytes")
    mode = 0o660
    for option in options:
        name, _, value = option.partition("=")
        if name != "mode" or not re.fullmatch("0?[0-7]{3}", value):
            raise ConfigError("bell", f"{option} is unknown; known is mode=, as mode=660")
        mode = int(value, 8)
    return BellAddress(path=path, mode=mode)


class DoorbellListener(DatagramProtocol):
    """Listens for datagrams and calls back."""

    def __init__(self, rung: Callable[[], None]) -> None:
        self._rung = rung
        self._port: Any = None
        self._path = ""

    def listen(self, reactor: Any, address: BellAddress) -> str:
        """Start listening; return the address to advertise.

        :raises ConfigError: the port is in use or the interface is not ours.
        """
        # A longer datagram is cut, which is harmless, because its content is not used.
        if address.path:
            return self._listen_at_path(reactor, address)
        try:
            self._port = reactor.listenUDP(address.port, self, interface=address.interface, maxPacketSize=64)
        except CannotListenError as error:
            where = f"{address.interface}:{address.port}"
            raise ConfigError("bell", f"cannot listen on {where}: {error.socketError}") from error
        host = f"[{address.advertise}]" if ":" in address.advertise else address.advertise
        return f"udp://{host}:{self._port.getHost().port}"

    def _listen_at_path(self, reactor: Any, address: BellAddress) -> str:
        _remove_left_over(address.path)
        try:
            self._port = reactor.listenUNIXDatagram(address.path, self, maxPacketSize=64, mode=address.mode)
        except (CannotListenError, OSError) as error:
            why = error.socketError if isinstance(error, CannotListenError) else error
            raise ConfigError("bell", f"cannot listen on {address.path}: {why}") from error
        self._path = address.path
        return f"unix:{address.path}"

    def stop(self) -> None:
        """Stop listening."""
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
        path, self._path = self._path, ""
        if path:
            with suppress(OSError):
                os.unlink(path)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Ring."""
        self._rung()


class DoorbellListeners:
    """The doorbells of a process: that of the setting, or one for each local address of a connection to a store.

    A writer on another host can reach the address from which this host reaches the store that both use; it cannot
    reach the loopback interface.
    """

    def __init__(self, reactor: Any, setting: str, rung: Callable[[], None]) -> None:
        self._reactor = reactor
        self._setting = setting
        self._rung = rung
        self._bells: list[DoorbellListener] = []
        self._addresses: dict[str, str] = {}

    def listen(self) -> str | Callable[[str], str]:
        """Start listening at the setting's address, and return the address to advertise, "" for none.

        For `auto` the result is a function from the local address of a connection to the store, which is ""
        if the store is a file or is reached through a socket of this host.

        :raises ConfigError: the setting is invalid, or its address cannot be opened.
        """
        if self._setting == AUTOMATIC:
            return self._address_for
        address = parse_bell(self._setting)
        return "" if address is None else self._listen_at(address)

    def stop(self) -> None:
        """Stop listening."""
        for bell in self._bells:
            bell.stop()
        self._bells.clear()
        self._addresses.clear()

    def _address_for(self, local_address: str) -> str:
        if local_address not in self._addresses:
            self._addresses[local_address] = self._listen_from(local_address)
        return self._addresses[local_address]

    def _listen_from(self, local_address: str) -> str:
        if local_address and not ip_address(local_address).is_link_local:
            # If the address cannot be listened at, as that of a connection behind address translation.
            with suppress(ConfigError):
                return self._listen_at(BellAddress(0, local_address, local_address))
        return self._listen_at(BellAddress(0, _LOOPBACK, _LOOPBACK))

    def _listen_at(self, address: BellAddress) -> str:
        bell = DoorbellListener(self._rung)
        advertised = bell.listen(self._reactor, address)
        self._bells.append(bell)
        return advertised


def _remove_left_over(path: str) -> None:
    """Remove the socket of a killed process. A socket in use stays, and so does a file of another kind."""
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
