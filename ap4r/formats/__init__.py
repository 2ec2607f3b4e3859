"""Write `params` as the bytes of a request: form, JSON, text, XML, YAML, multipart, or raw. One module a format.

Pure. A value that cannot be written is refused here, in the caller's own line, never later.
"""

from __future__ import annotations

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.formats.form import CONTENT_TYPE as FORM_TYPE
from ap4r.formats.form import encode_form, flat_form, nested_form
from ap4r.formats.json import encode_json
from ap4r.formats.multipart import File, encode_multipart
from ap4r.formats.plain_values import MAX_DEPTH, text_of
from ap4r.formats.size_limit import UNLIMITED, SizeLimit
from ap4r.formats.value_path import ValuePath
from ap4r.formats.xml import encode_xml
from ap4r.formats.yaml import encode_yaml

__all__ = ["FORMATS", "MAX_DEPTH", "File", "SizeLimit", "encode_form", "encode_params"]

FORMATS = ("form", "json", "text", "xml", "yaml", "multipart", "raw")
_TEXT, _RAW = "text/plain; charset=utf-8", "application/octet-stream"
_STRUCTURED = {
    "form": nested_form,
    "json": encode_json,
    "xml": encode_xml,
    "yaml": encode_yaml,
    "multipart": encode_multipart,
}


def encode_params(params: object, format: str, most_bytes: int = UNLIMITED) -> tuple[bytes, str | None]:
    """Write `params` in a format; return the body and its content type (None when `params` is None).

    A str or bytes is sent as it is: for json, xml and yaml it must be such a document already; with the default form
    it goes as text/plain or application/octet-stream.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written, as `params["a"][3]`.
    :raises PayloadTooLarge: as soon as the body would have more than `most_bytes`.
    :raises OptionRefused: when the format is unknown, or needs a library that is not installed.
    """
    if format == "form":
        flat = flat_form(params, most_bytes)  # as most are
        if flat is not None:
            return flat, FORM_TYPE
    if format not in FORMATS:
        raise OptionRefused("format", format, f"give one of {', '.join(FORMATS)}")
    if params is None:
        return b"", None
    if format in ("form", "text", "raw"):
        if isinstance(params, str):
            if len(params) > most_bytes:
                SizeLimit(most_bytes).check(len(params))
            return text_of(params, ValuePath(), format).encode(), _RAW if format == "raw" else _TEXT
        if isinstance(params, (bytes, bytearray, memoryview)):
            size = len(params) if type(params) is bytes else memoryview(params).nbytes
            if size > most_bytes:
                SizeLimit(most_bytes).check(size)
            return bytes(params), _TEXT if format == "text" else _RAW
    if format in ("text", "raw"):
        raise PayloadNotEncodable("params", params, format, "give a str or bytes, or format='json'")
    return _STRUCTURED[format](params, SizeLimit(most_bytes))
