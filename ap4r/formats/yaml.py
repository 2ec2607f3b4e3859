"""YAML (RFC 9512), in the subset that every safe loader accepts. Needs PyYAML, the extra `ap4r[yaml]`."""

from __future__ import annotations

import datetime
import re
from typing import Any

from ap4r.errors import OptionRefused, PayloadNotEncodable
from ap4r.formats.plain_values import plain, text_of
from ap4r.formats.size_limit import SizeLimit
from ap4r.formats.value_path import ValuePath

CONTENT_TYPE = "application/yaml"
# Line breaks to YAML 1.1 (5.4), which PyYAML leaves unquoted outside of double quotes, and parsers fold.
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")
# Texts that PyYAML leaves plain, because they are texts in its YAML 1.1, and that other parsers read as something else:
# numbers of the core schema (YAML 1.2.2, 10.3.2), number formats that existing parsers add, and the y and n of YAML
# 1.1.
_NO_TEXT_ELSEWHERE = re.compile(
    r"[-+]?(?:0[box][0-9a-f_]+|(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(?:e[-+]?[0-9_]+)?|\.inf|\.nan)|[yn]", re.IGNORECASE
)
_TEXTS = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"})
_LONGEST_NUMBER = 4_300  #: characters of a scalar that is not text


def encode_yaml(params: object, limit: SizeLimit) -> tuple[bytes, str]:
    """Write a value as one YAML document; return it with its content type. A str or bytes must be YAML already.

    Instants and dates are YAML's own, bytes are `!!binary`; other values are written as in JSON. No anchors, and no
    tags of a language.

    :raises PayloadNotEncodable: naming the place of the value that cannot be written.
    :raises PayloadTooLarge: it has more than the limit.
    :raises OptionRefused: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise OptionRefused("format", "yaml", "it needs PyYAML: pip install 'ap4r[yaml]'") from error
    if isinstance(params, (str, bytes, bytearray, memoryview)):
        limit.check(len(params))
        body = text_of(params, ValuePath(), "yaml").encode() if isinstance(params, str) else bytes(params)
        try:
            _check(yaml, body)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = str(error).replace("\n", " ")[:200]
            advice = (
                f"a str or bytes must be safe YAML already ({problem}); to send a string, give yaml.safe_dump(text)"
            )
            raise PayloadNotEncodable("params", params, "yaml", advice) from error
        return body, CONTENT_TYPE

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            limit.step()  # this is called for each value
            return True

    Dumper.add_representer(str, _quoted_where_needed)
    tree = plain(params, "yaml", limit, keep=(datetime.datetime, datetime.date, bytes))
    written = _Written(limit.again())
    yaml.dump(tree, written, Dumper=Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=10**6)
    return "".join(written.pieces).encode(), CONTENT_TYPE


class _Written:
    """A stream that counts: each line has its indentation, which is not part of any value."""

    def __init__(self, limit: SizeLimit) -> None:
        self._limit = limit
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        self._limit.take(len(text))
        self.pieces.append(text)


def _check(yaml: Any, body: bytes) -> None:
    """Check that a text is YAML that a safe loader accepts, without building the value.

    A few aliases and merges (`<<`) may describe more than any memory holds, and an integer to the base of 60 takes time
    with the square of its digits: nodes are visited once each, and only short scalars are read.

    :raises YAMLError, ValueError: the text says why a loader refuses it.
    """
    loader = yaml.SafeLoader(body)
    try:
        while loader.check_node():
            waiting, seen = [loader.get_node()], set[int]()
            while waiting:
                node = waiting.pop()
                if id(node) in seen:
                    continue
                seen.add(id(node))
                if node.tag not in loader.yaml_constructors and node.tag not in _TEXTS:
                    loader.construct_undefined(node)
                if isinstance(node, yaml.MappingNode):
                    for key, value in node.value:
                        if not isinstance(key, yaml.ScalarNode):
                            raise ValueError("a key is not a scalar")
                        waiting += [key, value]
                elif isinstance(node, yaml.SequenceNode):
                    waiting += node.value
                elif node.tag not in _TEXTS:
                    _check_scalar(loader, node)
    finally:
        loader.dispose()


def _check_scalar(loader: Any, node: Any) -> None:
    if len(node.value) <= _LONGEST_NUMBER:
        loader.construct_object(node)
    elif node.tag != "tag:yaml.org,2002:binary":
        raise ValueError(f"a number or an instant of {len(node.value):,} characters")


def _quoted_where_needed(dumper: Any, text: str) -> Any:
    style = None
    if not _BREAKS.isdisjoint(text):
        style = '"'
    elif _NO_TEXT_ELSEWHERE.fullmatch(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
