"""Turns a handler's call into a message: everything is checked here, in the handler's own line.

It stores nothing and does not depend on a request.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from ap4r.describe.headers import check_headers
from ap4r.describe.options import PRIORITY, check_option
from ap4r.describe.routes import Routes, resolve_target
from ap4r.errors import DepthExceeded, OptionRefused, PayloadTooLarge, TargetRefused
from ap4r.message.depth import DEPTH
from ap4r.message.message import HTTP, Delivery, Message, new_id
from ap4r.message.queue_name import check_queue_name
from ap4r.message.target import APP, Target, TargetLike
from ap4r.protocols.base import Described, Encoded, ProtocolCall
from ap4r.protocols.registry import find_protocol
from ap4r.settings.settings import Settings

#: A dispatcher's intake in the place of a store: it has the settings, and refuses unknown upstreams.
_INTAKE = ("http://", "https://", "http+unix://")


def check_upstream(target: Target, given: object, settings: Settings) -> None:
    """Refuse a path on an upstream that the settings do not have.

    :raises TargetRefused: the text names the known ones.
    """
    if target.upstream in (None, APP) or settings.store.startswith(_INTAKE):
        return
    known = sorted(one.name for one in settings.upstreams)
    if target.upstream not in known:
        raise TargetRefused(
            given,
            f"no upstream is called {target.upstream}; known are {', '.join(known)} ([upstreams.NAME] of ap4r.toml)",
        )


_REPEATED = Delivery.REPEATED


def describe_message(
    target: TargetLike,
    params: object = None,
    *,
    queue: str | None = None,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    format: str = "form",
    delivery: str = "repeated",
    delay_seconds: float | datetime.timedelta | None = None,
    deliver_at: float | datetime.datetime | None = None,
    expires_seconds: float | datetime.timedelta | None = None,
    max_deliveries: int | None = None,
    timeout_seconds: float | datetime.timedelta | None = None,
    protocol: str = HTTP,
    action: str | None = None,
    priority: int | None = None,
    options: Mapping[str, object] | None = None,
    routes: Routes | None = None,
    limits: Settings,
    trace_id: str | None = None,
    message_id: str | None = None,
    depth: int | None = None,
    written_for: str | None = None,
) -> Message:
    """Validate one call to be made and return it as a message.

    :param delay_seconds: a number or a timedelta, as `expires_seconds` and `timeout_seconds`.
    :param deliver_at: Unix seconds, or a datetime with a time zone; not together with `delay_seconds`.
    :param options: the options of the protocol.
    :param routes: looks up targets by name.
    :param limits: the settings that bound sizes.
    :param message_id: the id that its caller chose, a UUID; None for a new one. A body may contain it.
    :param depth: how many deliveries, each asking for the next, have led to it.
    :param written_for: the protocol for which `params` are an encoded call, which `protocol` "http" passes on.
    :raises DepthExceeded: those are more than `max_depth`.
    :raises TargetRefused: the target cannot be called.
    :raises OptionRefused: another argument is invalid.
    :raises PayloadNotEncodable: `params` cannot be written in `format`.
    :raises PayloadTooLarge: the body or the headers exceed their limit.
    """
    checked_target, derived_queue = resolve_target(target, routes)
    check_upstream(checked_target, target, limits)
    message_id = message_id or new_id()
    spoken = find_protocol(protocol)
    encoded = spoken.encode(
        ProtocolCall(
            message_id=message_id, target=checked_target, params=params, action=action,
            method=check_option("method", method), format=format, options={} if options is None else options,
            max_body_bytes=limits.max_body_bytes,
        )
    )  # fmt: skip
    if not isinstance(encoded, Encoded):
        raise OptionRefused("protocol", protocol, f"its encode() returned {type(encoded).__name__} instead of Encoded")
    body = encoded.body
    if len(body) > limits.max_body_bytes:
        raise PayloadTooLarge("the body of one message", len(body), limits.max_body_bytes, "max_body_bytes")
    if delay_seconds is not None and deliver_at is not None:
        raise OptionRefused("deliver_at", deliver_at, "give either delay_seconds or deliver_at")
    checked_delay = 0.0 if delay_seconds is None else check_option("delay_seconds", delay_seconds)
    checked_expiry = None if expires_seconds is None else check_option("expires_seconds", expires_seconds)
    if checked_expiry is not None and checked_expiry <= checked_delay:
        raise OptionRefused("expires_seconds", expires_seconds, "it would expire before its delay_seconds are over")
    added = list(encoded.headers)
    if priority is not None:
        added.append((PRIORITY, str(check_option("priority", priority))))
    if depth:
        added.append((DEPTH, str(_depth(depth, limits.max_depth))))
    message = Message(
        id=message_id,
        queue=derived_queue if queue is None else check_queue_name(queue),
        target=encoded.target,
        method=encoded.method,
        headers=check_headers(headers, added, limits.max_header_bytes),
        body=body,
        protocol=written_for or protocol,
        delivery=_delivery(delivery),
        delay_seconds=checked_delay,
        deliver_at=None if deliver_at is None else check_option("deliver_at", deliver_at),
        expires_seconds=checked_expiry,
        max_deliveries=None if max_deliveries is None else check_option("max_deliveries", max_deliveries),
        timeout_seconds=None if timeout_seconds is None else check_option("timeout_seconds", timeout_seconds),
        trace_id=trace_id,
    )
    source = spoken.description_of(message) if protocol != HTTP and isinstance(spoken, Described) else None
    if source is not None:
        check_upstream(Target.from_text(source), source, limits)
    return message


def _delivery(delivery: object) -> Delivery:
    return _REPEATED if delivery == "repeated" else Delivery(check_option("delivery", delivery))


def _depth(depth: object, limit: int) -> int:
    checked: int = check_option("depth", depth)
    if checked > limit:
        raise DepthExceeded(checked, limit)
    return checked
