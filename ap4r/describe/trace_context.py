"""The trace that a message belongs to, in the format of W3C Trace Context (level 1, section 3.2).

Pure, except for the random numbers of a new trace.
"""

from __future__ import annotations

import os
import re

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def read_trace_id(traceparent: str | None) -> str | None:
    """Return the trace id of a traceparent header, 32 hex digits; None when there is none or it is invalid."""
    if not traceparent:
        return None
    found = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if found is None:
        return None
    version, trace_id, parent_id, more = found.groups()
    # Later versions may carry more fields; version 00 has exactly four, and ff is forbidden.
    if version == "ff" or (version == "00" and more is not None):
        return None
    return trace_id if trace_id.strip("0") and parent_id.strip("0") else None


def new_trace_id() -> str:
    """Return the id of a new trace."""
    return os.urandom(16).hex()
