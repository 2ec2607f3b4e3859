"""The environ of a request (PEP 3333), built as gunicorn builds it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.util import FileWrapper

from ap4r.version import __version__

SERVER_SOFTWARE = f"ap4r/{__version__}"
#: Headers of which two cannot be combined into one (RFC 9110, section 5.3).
_SINGLE = (b"host", b"content-type")
_SECURE = {b"x-forwarded-proto": b"https", b"x-forwarded-protocol": b"ssl", b"x-forwarded-ssl": b"on"}
_OWN_KEYS = {"HTTP_CONTENT_TYPE": "CONTENT_TYPE", "HTTP_CONTENT_LENGTH": "CONTENT_LENGTH"}


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a connection. A UNIX socket has a path and no ports."""

    peer_host: str
    peer_port: int | None
    own_host: str
    own_port: int | None
    is_tls: bool = False

    @property
    def is_trusted(self) -> bool:
        """Whether the peer is on this host, so that its X-Forwarded-Proto counts, as it does for gunicorn."""
        try:
            return self.peer_port is None or ip_address(self.peer_host).is_loopback
        except ValueError:
            return False


class BadRequest(Exception):
    """The request cannot be passed to an application. `status` is the status of the answer."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def check_request(method: bytes, target: bytes, headers: Mapping[bytes, Sequence[bytes]]) -> None:
    """Refuse requests that an application could misread.

    :param headers: by lower-case name.
    :raises BadRequest: it is refused.
    """
    if not 3 <= len(method) <= 20 or method != method.upper() or b"#" in method:
        raise BadRequest(400, "the method cannot be read")
    if any(byte < 0x21 or byte > 0x7E for byte in target):
        raise BadRequest(400, "the target has a character that must be percent-encoded")
    is_asterisk = target == b"*"
    if is_asterisk and method != b"OPTIONS":
        raise BadRequest(400, "the target * is for OPTIONS only")
    if method != b"CONNECT" and not is_asterisk and not target.startswith(b"/") and b"://" not in target:
        raise BadRequest(400, "the target is neither a path nor a URL")
    for name in _SINGLE:
        if len(headers.get(name, ())) > 1:
            raise BadRequest(400, f"the header {name.decode()} occurs twice")
    for value in headers.get(b"expect", ()):
        if value.lower() != b"100-continue":
            raise BadRequest(417, "the value of the header Expect is not supported")


def split_target(target: str) -> tuple[str, str]:
    """Return the path, still encoded, and the query of a request's target.

    :raises BadRequest: it is not a URL.
    """
    if target.startswith("//"):
        # A path that begins with two slashes, and no host (RFC 9112, section 3.2.1).
        path, _, query = target.partition("#")[0].partition("?")
        return path, query
    try:
        parts = urlsplit(target)
    except ValueError as error:
        raise BadRequest(400, "the target is not a URL") from error
    return parts.path, parts.query


def build_environ(
    method: bytes,
    target: bytes,
    version: bytes,
    headers: Iterable[tuple[bytes, Sequence[bytes]]],
    ends: Ends,
    body: Any,
    errors: Any,
) -> dict[str, Any]:
    """Build the environ.

    A header whose name has an underscore is dropped, because it would be taken for the one with a hyphen.

    :raises BadRequest: the target, or the scheme that proxies report, is ambiguous.
    """
    text = target.decode("latin-1")
    path, query = split_target(text)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": text,
        "SERVER_PROTOCOL": version.decode("latin-1"),
        "SERVER_SOFTWARE": SERVER_SOFTWARE,
        "REMOTE_ADDR": ends.peer_host,
        "wsgi.version": (1, 0),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    if ends.peer_port is not None:
        environ["REMOTE_PORT"] = str(ends.peer_port)
    schemes: set[str] = set()
    for name, values in headers:
        if b"_" in name:
            continue
        lower = name.lower()
        if lower in _SECURE and ends.is_trusted:
            schemes.update("https" if value == _SECURE[lower] else "http" for value in values)
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        environ[_OWN_KEYS.get(key, key)] = ",".join([value.decode("latin-1") for value in values])
    if len(schemes) > 1:
        raise BadRequest(400, "the headers X-Forwarded-* name two schemes")
    scheme = schemes.pop() if schemes else "https" if ends.is_tls else "http"
    environ["wsgi.url_scheme"] = scheme
    environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(ends, environ.get("HTTP_HOST", ""), scheme)
    return environ


def _server(ends: Ends, host: str, scheme: str) -> tuple[str, str]:
    if ends.own_port is not None:
        return ends.own_host, str(ends.own_port)
    name, _, port = host.partition(":")
    return (name, port or ("443" if scheme == "https" else "80")) if host else (ends.own_host, "")
