"""Verifies a request's signatures: a pure function of its environ, its body, the secrets and the time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from ap4r.redaction import shortened
from ap4r.settings.upstreams import OWN_SENDER
from ap4r.signing.signing import Secret, is_recent, request_content, verifies, webhook_content
from ap4r.signing.verified_delivery import VerifiedDelivery

SIGNATURE_KEYS = ("HTTP_WEBHOOK_SIGNATURE", "HTTP_AP4R_SIGNATURE")
_PREFIX = "HTTP_"

#: The secrets that may sign, by the party's name; our own dispatcher's are under OWN_SENDER.
Parties = Mapping[str, Sequence[Secret]]


def reason_to_refuse(environ: Mapping[str, Any], now: float) -> str:
    """Return why a request cannot be verified, judged by its headers before its body is read; empty if it may be."""
    if not any(environ.get(key) for key in SIGNATURE_KEYS):
        return "it has no signature"
    if not environ.get("HTTP_WEBHOOK_ID") or not environ.get("HTTP_WEBHOOK_TIMESTAMP"):
        return "webhook-id or webhook-timestamp is missing"
    if not is_recent(environ["HTTP_WEBHOOK_TIMESTAMP"], now):
        return "its webhook-timestamp is more than five minutes off; check the clocks of both hosts"
    return ""


def verify(environ: Mapping[str, Any], body: bytes, parties: Parties) -> VerifiedDelivery | None:
    """Return the delivery that a request is, or None when none of the parties signed it.

    Each signature that is present must be valid: `Ap4r-Signature` and `webhook-signature` by the same party.
    Call `reason_to_refuse` first.
    """
    webhook, whole = (environ.get(key, "") for key in SIGNATURE_KEYS)
    message_id, timestamp = environ["HTTP_WEBHOOK_ID"], environ["HTTP_WEBHOOK_TIMESTAMP"]
    webhook_signed = webhook_content(message_id, timestamp, body) if webhook else b""
    whole_signed = _request_content(environ, message_id, timestamp, body) if whole else b""
    for sender, secrets in parties.items():
        if webhook and not verifies(webhook, webhook_signed, secrets):
            continue
        if whole and not verifies(whole, whole_signed, secrets):
            continue
        return _delivery(environ, sender, message_id, int(timestamp), body, is_whole=bool(whole))
    return None


def mount_problem(environ: Mapping[str, Any], mounts: Collection[str]) -> str:
    """Return why a request that sets its own SCRIPT_NAME by a header cannot be verified; empty when it does not.

    No signature covers how the path is divided into SCRIPT_NAME and PATH_INFO. Where a header decides that (gunicorn's
    SCRIPT_NAME, X-Forwarded-Prefix behind ProxyFix), a client could direct a captured delivery to another action.

    :param mounts: the names that a header may set, without slashes at their ends.
    """
    mount = environ.get("SCRIPT_NAME", "").strip("/")
    if not mount or mount in mounts:
        return ""
    for key, value in environ.items():
        if key.startswith(_PREFIX) and isinstance(value, str) and value and mount in _as_mount(value):
            return (
                f"its SCRIPT_NAME {shortened(mount)} comes from the header {key.removeprefix(_PREFIX)}, which no "
                "signature covers; if that is intended, add it to script_names"
            )
    return ""


def _as_mount(value: str) -> tuple[str, str]:
    return value.strip(" /"), unquote(value, "latin-1").strip(" /")


def full_path(environ: Mapping[str, Any]) -> str:
    """Return SCRIPT_NAME + PATH_INFO as PEP 3333 spells them: bytes as Latin-1."""
    path_info, script_name = path_parts(environ)
    return script_name + path_info


def path_parts(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Return PATH_INFO and SCRIPT_NAME, unchanged."""
    return environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")


def path_of(environ: Mapping[str, Any]) -> str:
    """Return SCRIPT_NAME + PATH_INFO, decoded; bytes that are not UTF-8 are escaped."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "backslashreplace")


def _request_content(environ: Mapping[str, Any], message_id: str, timestamp: str, body: bytes) -> bytes:
    headers = [(key.removeprefix(_PREFIX), value) for key, value in environ.items() if key.startswith("HTTP_AP4R_")]
    return request_content(
        message_id,
        timestamp,
        environ.get("REQUEST_METHOD", ""),
        full_path(environ).encode("latin-1", "replace"),
        environ.get("QUERY_STRING", ""),
        environ.get("CONTENT_TYPE", ""),
        headers,
        body,
    )


def _delivery(
    environ: Mapping[str, Any], sender: str, message_id: str, signed_at: int, body: bytes, *, is_whole: bool
) -> VerifiedDelivery:
    queue, attempt, expires = (
        environ.get(key, "") if is_whole else ""
        for key in ("HTTP_AP4R_QUEUE", "HTTP_AP4R_ATTEMPT", "HTTP_AP4R_EXPIRES")
    )
    return VerifiedDelivery(
        sender=sender,
        id=message_id,
        path=path_of(environ),
        signed_at=signed_at,
        body_sha256=hashlib.sha256(body).digest(),
        queue=unquote(queue) if queue else None,
        attempt=_number(attempt),
        expires_at=_number(expires),
        whole_request_signed=is_whole,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def parties_of(own: Sequence[Secret], others: Mapping[str, Sequence[Secret]]) -> dict[str, Sequence[Secret]]:
    """Return who may sign, our own dispatcher first."""
    return ({OWN_SENDER: own} if own else {}) | dict(others)
