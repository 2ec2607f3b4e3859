"""YAML (RFC 9512), in the part of it that every safe reader takes. Needs PyYAML, the extra `ap4r[yaml]`."""

from __future__ import annotations

import datetime
import re
from typing import Any

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.formats.place import Place
from ap4r.formats.plain import plain, text_of

CONTENT_TYPE = "application/yaml"
# Line breaks to YAML 1.1 (5.4), which PyYAML leaves as they are outside of double quotes, and readers fold.
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")
# Texts that PyYAML leaves plain, for to its YAML 1.1 they are texts, and that other readers take for something else:
# numbers of the core schema (YAML 1.2.2, 10.3.2) and those that readers in use add to it, and the y and n of YAML 1.1.
_NO_TEXT_ELSEWHERE = re.compile(
    r"[-+]?(?:0[box][0-9a-f_]+|(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(?:e[-+]?[0-9_]+)?|\.inf|\.nan)|[yn]", re.IGNORECASE
)


def encode_yaml(params: object) -> tuple[bytes, str]:
    """Write a value as one YAML document; return it with its content type. A str or bytes must be YAML already.

    Instants and dates are YAML's own, bytes are `!!binary`; otherwise it is spelled as in JSON. No anchors, and no
    tags of a language.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises OptionRefused: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise OptionRefused("format", "yaml", "it needs PyYAML: pip install 'ap4r[yaml]'") from error
    if isinstance(params, (str, bytes, bytearray, memoryview)):
        body = text_of(params, Place(), "yaml").encode() if isinstance(params, str) else bytes(params)
        try:
            for _ in yaml.safe_load_all(body):
                pass
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = str(error).replace("\n", " ")[:200]
            advice = (
                f"a str or bytes must be safe YAML already ({problem}); to send a string, give yaml.safe_dump(text)"
            )
            raise PayloadNotEncodable("params", params, "yaml", advice) from error
        return body, CONTENT_TYPE

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, _quoted_where_needed)
    tree = plain(params, "yaml", keep=(datetime.datetime, datetime.date, bytes))
    text = yaml.dump(tree, Dumper=Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=10**6)
    return text.encode(), CONTENT_TYPE


def _quoted_where_needed(dumper: Any, text: str) -> Any:
    style = None
    if not _BREAKS.isdisjoint(text):
        style = '"'
    elif _NO_TEXT_ELSEWHERE.fullmatch(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
