"""Checks whether deliveries are signed, and whether dispatcher and application share the secret, at both of them.

The dispatcher shows fingerprints of its secrets at /healthz. The application gets a signed probe, which its
middleware answers itself if it can verify it; without the middleware it is a GET of "/" like any other.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from ap4r.message.message import new_id
from ap4r.message.target import APP
from ap4r.settings.settings import Settings
from ap4r.signing.signing import (
    AP4R_SIGNATURE,
    PROBE,
    PROBE_ANSWER,
    WEBHOOK_ID,
    WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP,
    fingerprints,
    request_content,
    sign,
    webhook_content,
)

_TIMEOUT_SECONDS = 3.0
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """The findings. `knows_secret` is None for a place that could not be checked; each entry is a place and that."""

    signed: bool
    dispatcher: tuple[str, bool | None] | None
    applications: tuple[tuple[str, bool | None], ...]


def look(settings: Settings) -> Trust:
    """Check dispatcher and application, as far as they can be reached. It never raises."""
    if not settings.secrets:
        return Trust(False, None, ())
    health = health_address(settings.listen)
    dispatcher = None if health is None else (health, _dispatcher_knows(health, settings))
    applications = tuple((url, _application_knows(url, settings)) for url in settings.app_urls)
    return Trust(True, dispatcher, applications)


def trust_findings(trust: Trust) -> list[str]:
    """Return a sentence for each place that is known not to share the secret."""
    found = []
    if trust.dispatcher is not None and trust.dispatcher[1] is False:
        found.append(
            f"the dispatcher at {trust.dispatcher[0]} signs with other secrets than the settings here, or with none; "
            "use the same ap4r.toml for it, and reload it (SIGHUP)"
        )
    for url, knows_secret in trust.applications:
        if knows_secret is False:
            found.append(
                f"the application at {url} does not verify the secret of the settings here; is AP4RMiddleware around "
                "it, does it read the same ap4r.toml, and was it restarted since?"
            )
    return found


def trust_notes(trust: Trust) -> list[str]:
    """Return the other findings, for a person."""
    if not trust.signed:
        return ["deliveries to the application are not signed; `ap4r init` writes a secret"]
    asked = [("dispatcher", *trust.dispatcher)] if trust.dispatcher is not None else []
    asked += [("application", *one) for one in trust.applications]
    notes = ["deliveries to the application are signed"]
    notes += [f"the {who} at {where} shares the secret" for who, where, knows in asked if knows]
    notes += [f"the {who} at {where} could not be checked" for who, where, knows in asked if knows is None]
    return notes


def health_address(listen: str) -> str | None:
    """Return host and port of the setting `listen`; None when it is not a TCP port that has a number."""
    kind, _, rest = listen.partition(":")
    port, *options = rest.split(":")
    if kind != "tcp" or not port.isdecimal() or port == "0":
        return None
    interface = next((one.removeprefix("interface=") for one in options if one.startswith("interface=")), "")
    return f"{interface if interface not in ('', '0.0.0.0') else '127.0.0.1'}:{port}"


def queues_that_feed_themselves(settings: Settings, store: str) -> list[str]:
    """Return the queues of a store that feed themselves, as the dispatcher reports them, if it can. Never raises."""
    health = health_address(settings.listen)
    answer = None if health is None else _ask(f"http://{health}", "/healthz", {})
    try:
        stores = json.loads(answer[1])["stores"] if answer else []
        return [queue for told in stores if told["store"] == store for queue in told["feeds_itself"]]
    except (ValueError, KeyError, TypeError):
        return []


def _dispatcher_knows(address: str, settings: Settings) -> bool | None:
    answer = _ask(f"http://{address}", "/healthz", {})
    try:
        told = json.loads(answer[1])["signing"] if answer else None
    except (ValueError, KeyError, TypeError):
        return None
    return None if told is None else told == fingerprints(settings.secrets)


def _application_knows(url: str, settings: Settings) -> bool | None:
    base = urlsplit(url).path.rstrip("/")
    answer = _ask(url, base + "/", probe_headers(settings, base + "/", time.time()))
    return None if answer is None else answer[0].get(PROBE_ANSWER, "") == "yes"


def probe_headers(settings: Settings, path: str, now: float) -> dict[str, str]:
    """Return the headers of a signed GET that only checks whether it can be verified."""
    app, message_id, timestamp = settings.upstream(APP), new_id(), str(int(now))
    whole = request_content(message_id, timestamp, "GET", path.encode(), "", "", [(PROBE, "1")], b"")
    headers = {
        PROBE: "1",
        WEBHOOK_ID: message_id,
        WEBHOOK_TIMESTAMP: timestamp,
        WEBHOOK_SIGNATURE: sign(webhook_content(message_id, timestamp, b""), settings.secrets),
        AP4R_SIGNATURE: sign(whole, settings.secrets),
    }
    if app.host:
        headers["Host"] = app.host
    if app.scheme:
        headers["X-Forwarded-Proto"] = app.scheme
    return headers


def _ask(url: str, path: str, headers: dict[str, str]) -> tuple[dict[str, str], bytes] | None:
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    except (ValueError, http.client.HTTPException):
        return None
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return {name.lower(): value for name, value in response.getheaders()}, response.read(_MOST_BYTES)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
