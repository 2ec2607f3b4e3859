"""Whether a server can send a response: most find out only when they write it, and by then its messages are stored."""

from __future__ import annotations

import re

from ap4r.middleware.body import Body
from ap4r.middleware.start import Start

_NOT_LATIN_1 = re.compile("[^\\x00-\\xff]")


def is_surely_sendable(start: Start, result: object, body: Body | None) -> bool:
    """Tell whether every server takes this start; an odd one is some server's to refuse.

    :param result: what the application returned, None while it runs.
    :param body: the chunks that were taken in, if there are any.
    :raises ValueError: no server can send the response, as far as it is at hand; says what is wrong (PEP 3333).
    """
    chunks = result if type(result) is list or type(result) is tuple else ()
    for chunk in chunks if body is None else (*chunks, *body.ready, *body.held):
        if not isinstance(chunk, bytes):
            kind = type(chunk).__name__
            raise ValueError(f"a chunk of the response's body is of type {kind}; servers send bytes (PEP 3333)")
    if start.is_plain():
        return True
    texts: list[tuple[str, object]] = [("status", start.status)]
    for header in start.headers:
        if type(header) is tuple and len(header) == 2:
            texts += [("name of a header", header[0]), (f"header {header[0]!r}", header[1])]
    for what, text in texts:
        if isinstance(text, str) and _NOT_LATIN_1.search(text):
            raise ValueError(f"the {what} of the response has a character outside Latin-1 (PEP 3333)")
    return False
