"""What is different through the middleware, and why that is as it should be."""

from __future__ import annotations

SAYS, STORED, PLAIN = "with a message", "what is stored", "without a message"

HELD = "the chunk that waits for the verdict does not leave when the application fails; the answer is cut in both cases"
TWICE = (
    "a second start without exc_info is against PEP 3333; with a message waiting it fails, whatever the server takes"
)
LAST = "with a message waiting the server is given the last start only, so this one does not mix the two"
OWN = "the server fails by itself when all was said, after the verdict"
NO_WRITE = "this server has no write(); with a message waiting the bytes are held, and leave as a part of the body"
MEASURED = "a body that was taken whole for the verdict is a list, of which this server tells the length"
RACE = "whether bytes leave before a failure closes the connection is a race of the server's own threads"
PIPELINED = "requests of one connection that come at once overlap, and which of them fails is a matter of time"

#: On any server; where the server ends such an answer otherwise, it may be equal.
COMMON: dict[tuple[str, str], str] = {
    ("raises_in_the_middle", SAYS): HELD,
    ("late_replacement", SAYS): HELD,
    ("starts_twice", SAYS): TWICE,
}
#: On this server; it is an error when it is equal.
KNOWN: dict[str, dict[tuple[str, str], str]] = {
    **{
        name: {("replaced_start", SAYS): LAST}
        for name in ("gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent", "uvicorn-wsgi", "uvicorn-a2wsgi")
    },
    "cheroot": {("replaced_start", SAYS): LAST, ("too_long", STORED): OWN},
    "granian": {("written", SAYS): NO_WRITE, ("old_sequence", SAYS): MEASURED},
    "hypercorn": {
        ("written", SAYS): NO_WRITE,
        ("no_chunks", STORED): OWN,
        ("no_content", STORED): OWN,
    },
    **{
        name: {(case, STORED): OWN for case in ("HEAD", "HEAD without a length", "not_modified", "too_long")}
        for name in ("tornado", "gunicorn-tornado")
    },
}
#: On this server, now and then.
SOMETIMES: dict[str, dict[tuple[str, str], str]] = {
    "granian": {("raises_in_the_middle", PLAIN): RACE, ("late_replacement", PLAIN): RACE},
    **{name: {("HEAD of a generator", STORED): OWN} for name in ("tornado", "gunicorn-tornado")},
    "uvicorn-asgiref": {
        **{(case, way): PIPELINED for case in ("pipelined", "pipelined bodies") for way in (PLAIN, SAYS, STORED)},
        **{("body that is not read", way): PIPELINED for way in (PLAIN, SAYS, STORED)},
        **{("kept", way): PIPELINED for way in (PLAIN, SAYS, STORED)},
        **{("client leaves", way): "asgiref reads an endless body to its end, and is stopped" for way in (PLAIN, SAYS)},
        **{(case, SAYS): NO_WRITE for case in ("written", "written_and_returned")},
        ("headers", STORED): OWN,
    },
}


def reason_of(server: str, difference: tuple[str, str]) -> str:
    """Return why a difference is as it should be; empty when it is not listed."""
    listed = {**COMMON, **SOMETIMES.get(server, {}), **KNOWN.get(server, {})}
    return listed.get(difference, "")
