"""Turns a handler's call into a message: everything is checked here, in the handler's own line.

It stores nothing and does not depend on a request.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from ap4r.describe.headers import TOKEN, check_headers
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


_MAX_METHOD_LENGTH = 32
_USUAL_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
# A hundred years: a database can add this to an instant without leaving its range.
_MAX_SECONDS = 3_155_760_000
_MAX_INSTANT = 253_402_300_799  # the end of the year 9999, the last of datetime
_MAX_DELIVERIES = 2**31 - 1
_MAX_PRIORITY = 1_000
PRIORITY = "Ap4r-Priority"  #: the header that carries it
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
) -> Message:
    """Validate one call to be made and return it as a message.

    :param delay_seconds: a number or a timedelta, as `expires_seconds` and `timeout_seconds`.
    :param deliver_at: Unix seconds, or a datetime with a time zone; not together with `delay_seconds`.
    :param options: the options of the protocol.
    :param routes: looks up targets by name.
    :param limits: the settings that bound sizes.
    :param message_id: the id that its caller chose, a UUID; None for a new one. A body may contain it.
    :param depth: how many deliveries, each asking for the next, have led to it.
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
            message_id=message_id, target=checked_target, params=params, action=action, method=_method(method),
            format=format, options={} if options is None else options, max_body_bytes=limits.max_body_bytes,
        )
    )  # fmt: skip
    if not isinstance(encoded, Encoded):
        raise OptionRefused("protocol", protocol, f"its encode() returned {type(encoded).__name__} instead of Encoded")
    body = encoded.body
    if len(body) > limits.max_body_bytes:
        raise PayloadTooLarge("the body of one message", len(body), limits.max_body_bytes, "max_body_bytes")
    if delay_seconds is not None and deliver_at is not None:
        raise OptionRefused("deliver_at", deliver_at, "give either delay_seconds or deliver_at")
    checked_delay = 0.0 if delay_seconds is None else _seconds("delay_seconds", delay_seconds, or_zero=True)
    checked_expiry = None if expires_seconds is None else _seconds("expires_seconds", expires_seconds)
    if checked_expiry is not None and checked_expiry <= checked_delay:
        raise OptionRefused("expires_seconds", expires_seconds, "it would expire before its delay_seconds are over")
    added = encoded.headers if priority is None else [*encoded.headers, _priority(priority)]
    if depth:
        added = [*added, _depth(depth, limits.max_depth)]
    message = Message(
        id=message_id,
        queue=derived_queue if queue is None else check_queue_name(queue),
        target=encoded.target,
        method=encoded.method,
        headers=check_headers(headers, added, limits.max_header_bytes),
        body=body,
        protocol=protocol,
        delivery=_delivery(delivery),
        delay_seconds=checked_delay,
        deliver_at=None if deliver_at is None else _instant(deliver_at),
        expires_seconds=checked_expiry,
        max_deliveries=None if max_deliveries is None else _deliveries(max_deliveries),
        timeout_seconds=None if timeout_seconds is None else _seconds("timeout_seconds", timeout_seconds),
        trace_id=trace_id,
    )
    source = spoken.description_of(message) if protocol != HTTP and isinstance(spoken, Described) else None
    if source is not None:
        check_upstream(Target.from_text(source), source, limits)
    return message


def _method(method: object) -> str:
    if type(method) is str and method in _USUAL_METHODS:
        return method
    if not isinstance(method, str) or not TOKEN.fullmatch(method) or len(method) > _MAX_METHOD_LENGTH:
        raise OptionRefused("method", method, "a method is one word, such as POST")
    upper = method.upper()
    if upper in ("CONNECT", "TRACE"):
        raise OptionRefused("method", method, "it is for proxies, not for a handler; give another")
    return upper


def _priority(priority: object) -> tuple[str, str]:
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > _MAX_PRIORITY:
        raise OptionRefused("priority", priority, f"give a whole number from {-_MAX_PRIORITY} to {_MAX_PRIORITY}")
    return (PRIORITY, str(priority))


def _depth(depth: object, limit: int) -> tuple[str, str]:
    if isinstance(depth, bool) or not isinstance(depth, int) or not 0 < depth <= _MAX_DELIVERIES:
        raise OptionRefused("depth", depth, f"give a whole number from 0 to {_MAX_DELIVERIES:,}")
    if depth > limit:
        raise DepthExceeded(depth, limit)
    return (DEPTH, str(depth))


def _delivery(delivery: object) -> Delivery:
    if delivery == "repeated":
        return _REPEATED
    for known in Delivery:
        if delivery == known:
            return known
    raise OptionRefused("delivery", delivery, f"give one of {', '.join(Delivery)}")


def _seconds(option: str, value: object, *, or_zero: bool = False) -> float:
    if type(value) is not int and type(value) is not float:
        value = _plain_seconds(option, value)
    # Written so that NaN, which is neither less nor greater than anything, is refused too.
    if not (0 <= value <= _MAX_SECONDS) or (value == 0 and not or_zero):
        raise OptionRefused(option, value, f"give a number {'from' if or_zero else 'above'} 0 up to {_MAX_SECONDS:,}")
    return float(value)


def _plain_seconds(option: str, value: object) -> float:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionRefused(option, value, "give a number of seconds or a datetime.timedelta")
    return value


def _instant(value: object) -> float:
    if isinstance(value, datetime.datetime):
        if value.utcoffset() is None:
            raise OptionRefused("deliver_at", value, "it has no time zone; give one, as with tzinfo=datetime.UTC")
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionRefused("deliver_at", value, "give Unix seconds, or a datetime with a time zone")
    if not 0 <= value <= _MAX_INSTANT:
        raise OptionRefused("deliver_at", value, "give an instant from 1970 to 9999, in Unix seconds")
    return float(value)


def _deliveries(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_DELIVERIES:
        raise OptionRefused("max_deliveries", value, f"give a whole number from 1 to {_MAX_DELIVERIES:,}")
    return value
