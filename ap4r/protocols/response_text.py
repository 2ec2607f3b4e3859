"""The text of an answer: its part among attachments, its charset, and no more space around it than a parser accepts.

Pure. The charset is decided by the byte order mark, the header, the XML declaration, and finally UTF-8, in that
order (RFC 7303, 3); each is skipped if the bytes do not fit. If none fits, the text is still decoded, with signs in
place of the undecodable bytes: whether an answer reports a fault is written in ASCII.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import encodings
import pkgutil
import quopri
import re
from functools import lru_cache

from ap4r.outcome.response import Answer

_PARAMETER = re.compile(r";\s*([A-Za-z0-9-]+)\s*=\s*(?:\"([^\"]*)\"|([^;\s]*))")
_DECLARED = re.compile(r"\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_BLANKS = "\ufeff \t\r\n\0"
_MOST_HEADER_CHARACTERS = 2_000  #: of a Content-Type
MOST_PARTS = 100  #: that are read
_MOST_PART_HEAD_BYTES = 16 * 1024
#: Longer marks first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_EBCDIC = b"\x4c\x6f\xa7\x94"  #: `<?xm`
#: Codecs of Python that are not charsets; decoding some of them takes time that grows with the square of the text.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})


def xml_document(answer: Answer) -> bytes:
    """Return the XML document of an answer as UTF-8, whatever encoding it declares."""
    body, content_type = _root_part(answer.body, answer.headers.get("content-type", ""))
    return _text(body, _parameters(content_type).get("charset", "")).encode("utf-8", "replace")


def json_text(answer: Answer) -> str:
    """Return the JSON text of an answer."""
    return _text(answer.body, _parameters(answer.headers.get("content-type", "")).get("charset", ""))


def _text(body: bytes, charset: str) -> str:
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace").strip(_BLANKS)
    for name in (_width(body), charset, _declared(body), "utf-8"):
        if name and (name == "utf-8" or _is_charset(name)):
            try:
                return body.decode(name).strip(_BLANKS)
            except (UnicodeError, LookupError):
                continue
    return body.decode("utf-8", "replace").strip(_BLANKS)


def _width(body: bytes) -> str:
    """Return the encoding of several bytes a character that the zero bytes of a beginning in ASCII show, or ""."""
    begin = body[:64]
    zeros = [begin[at::4].count(0) for at in range(4)]
    if not any(zeros) or len(begin) < 4:
        return ""
    most = len(begin) // 4
    wide = [count * 2 > most for count in zeros]
    shapes = {
        (False, True, True, True): "utf-32-le",
        (True, True, True, False): "utf-32-be",
        (False, True, False, True): "utf-16-le",
        (True, False, True, False): "utf-16-be",
    }
    return shapes.get((wide[0], wide[1], wide[2], wide[3]), "")


def _declared(body: bytes) -> str:
    begin = body[:400].decode("cp037" if body.startswith(_EBCDIC) else "latin-1")
    found = _DECLARED.match(begin)
    return found[1] if found else ""


def _is_charset(name: str) -> bool:
    """Return whether Python has a codec of a name, without looking it up, because Python caches each looked-up name."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    return len(name) <= 40 and plain in _charsets()


@lru_cache(maxsize=1)
def _charsets() -> frozenset[str]:
    modules = {module.name for module in pkgutil.iter_modules(encodings.__path__)}
    aliases = encodings.aliases.aliases
    return frozenset({*modules, *aliases} - _NO_CHARSETS - {name for name in aliases if aliases[name] in _NO_CHARSETS})


def _parameters(content_type: str) -> dict[str, str]:
    if ";" not in content_type:
        return {}
    found = _PARAMETER.findall(content_type[:_MOST_HEADER_CHARACTERS])
    return {name.lower(): (quoted or bare).strip("'") for name, quoted, bare in reversed(found)}


def _root_part(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Return the part that the others of a multipart/related belong to (RFC 2387), and its type; or the body."""
    if content_type.lstrip()[:10].lower() != "multipart/":
        return body, content_type
    parameters = _parameters(content_type)
    boundary = parameters.get("boundary", "").encode("latin-1", "replace")
    if not boundary:
        return body, content_type
    wanted, first = parameters.get("start", "").strip("<>"), None
    for piece in (b"\n" + body).split(b"\n--" + boundary, MOST_PARTS)[1:]:
        if piece.startswith(b"--"):
            break
        head, content = _part(piece)
        part = _undo_transfer(content, head.get("content-transfer-encoding", "")), head.get("content-type", "")
        if not wanted or head.get("content-id", "").strip("<>") == wanted:
            return part
        first = first or part
    return first or (body, content_type)


def _part(piece: bytes) -> tuple[dict[str, str], bytes]:
    _, _, rest = piece.partition(b"\n")  # spaces after the boundary
    lines = rest[:_MOST_PART_HEAD_BYTES].replace(b"\r\n", b"\n")
    if lines.startswith(b"\n"):
        return {}, rest.lstrip(b"\r\n")
    head, end, _ = lines.partition(b"\n\n")
    if not end:
        return {}, rest
    fields = re.sub(r"\n[ \t]+", " ", head.decode("latin-1")).split("\n")
    pairs = (field.partition(":") for field in fields)
    at = min(found for found in (rest.find(b"\n\r\n"), rest.find(b"\n\n")) if found >= 0)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}, rest[at:].lstrip(b"\r\n")


def _undo_transfer(content: bytes, encoding: str) -> bytes:
    if encoding.lower() == "quoted-printable":
        return quopri.decodestring(content)
    if encoding.lower() == "base64":
        try:
            return base64.b64decode(content)
        except binascii.Error:
            return content
    return content
