"""The ways in which an application may read the path of a request, and the paths that are ambiguous. Pure.

Frameworks decode and ignore errors, compare without case by Unicode's tables, treat punctuation as `_`, cut at a `;`,
and resolve dots or do not. No list of such readings is complete, so ambiguous kinds of paths are refused first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote, unquote_to_bytes

MOST_CHARACTERS = 8_192  #: of a path; longer ones are not read, because each reading would take too long
#: How many layers of percent-encoding are decoded; servers decode one.
_DECODINGS = 3
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile(r"[\x00-\x20\x7f-\xa0]+")
_SLASHES = re.compile(r"/{2,}")
_PARAMETERS = re.compile(r";[^/]*")
_END = re.compile(r"[;?#\x00]")
_DOTS = re.compile(r"\A[\s.]*\Z")
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")
# A whole URL as the request target, and what Twisted makes of one: it replaces the first letter by a slash.
_ABSOLUTE = re.compile(r"\A/?(?:[a-z][a-z0-9+.-]*:)?//[^/]*")
_PUNCTUATION = "_"  # represents a segment without letters and digits
#: Letters that `(?i)` of Python's re treats as equal to others, and that no Unicode normalisation maps to them.
_SAME_LETTER = str.maketrans({"\u0131": "i", "\u0237": "j"})

#: The segments of a path, each reduced to its letters and digits, without case and marks.
Segments = tuple[str, ...]


def problem_of(path: str) -> str:
    """Return why a path can be read in more than one way, regardless of the application; empty when it cannot.

    :param path: as PEP 3333 spells it, bytes as Latin-1.
    """
    if len(path) > MOST_CHARACTERS:
        return f"its path has more than {MOST_CHARACTERS:,} characters"
    for _ in range(_DECODINGS):
        try:
            data = path.encode("latin-1")
            text = data.decode("utf-8")
        except UnicodeError:
            return "its path is not UTF-8"
        if _CONTROL.search(text):
            return "its path has a control character"
        if "\\" in unicodedata.normalize("NFKC", text):
            return "its path has a backslash"
        if any(_is_dots(segment) for segment in text.split("/")):
            return "its path has a segment . or .."
        if not _ESCAPE.search(path):
            return ""
        path = unquote_to_bytes(data).decode("latin-1")
    return "its path is percent-encoded over and over" if _ESCAPE.search(path) else ""


def readings(path: str) -> Iterator[Segments]:
    """Yield every way in which an application may read a path.

    :param path: as PEP 3333 spells it, bytes as Latin-1.
    """
    data = path.encode("latin-1", "replace")
    # Errors are replaced, or ignored; or everything that is not ASCII is ignored.
    texts = [data.decode("utf-8", "replace"), data.decode("utf-8", "ignore"), data.decode("ascii", "ignore")]
    for text in dict.fromkeys(texts):
        yield from _readings_of_text(text)


def segments_of(path: str) -> Segments:
    """Return a path's segments in the form that `readings` yields."""
    return tuple(filter(None, map(_segment, folded(path).split("/"))))


def folded(text: str) -> str:
    """Return a text folded for a comparison without case, marks and compatibility forms."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_SAME_LETTER)
    return "".join(character for character in text if not unicodedata.category(character).startswith("M"))


def _readings_of_text(text: str) -> Iterator[Segments]:
    for _ in range(_DECODINGS):
        seen = folded(text)
        cut = _END.split(seen, maxsplit=1)[0]
        for whole in {seen, cut}:
            plain = _INVISIBLE.sub("", whole).replace("\\", "/")
            for reading in {plain, _ABSOLUTE.sub("", plain)}:
                for bare in {reading, _PARAMETERS.sub("", reading)}:
                    for resolved in {bare, _resolved(bare), _resolved(_SLASHES.sub("/", bare))}:
                        segments = resolved.split("/")
                        yield tuple(filter(None, map(_segment, segments)))
                        if "." in segments[-1]:
                            # Some frameworks take the content type that a client accepts from the part after the dot.
                            segments[-1] = segments[-1].lstrip(".").partition(".")[0]
                            yield tuple(filter(None, map(_segment, segments)))
        decoded = unquote(seen)
        if decoded == seen:
            return
        text = decoded


def _segment(text: str) -> str:
    if text.isalnum():
        return text
    letters = "".join(filter(str.isalnum, text))
    if letters or _DOTS.match(text) or not text.isascii():
        return letters
    return _PUNCTUATION


def _is_dots(segment: str) -> bool:
    # A segment's parameters are not part of its name, nor are blanks at its ends.
    return unicodedata.normalize("NFKC", segment).partition(";")[0].strip() in (".", "..")


def _resolved(path: str) -> str:
    """Resolve the segments . and .. (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)
