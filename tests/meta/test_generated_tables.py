"""The tables of the documentation are what the code has."""

from __future__ import annotations

import inspect
import tomllib

import pytest

from ap4r.describe.describe import describe_message
from ap4r.describe.options import OPTIONS
from ap4r.message.message import Message
from ap4r.outbox.handle import Handle
from ap4r.settings.load import parse_settings
from ap4r.storage.schema.tables import Schema
from tests.meta.generated_tables import TABLES
from tests.meta.tree import DOCUMENTS, blocks

SECRET = "whsec_" + "A" * 32


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_a_table_is_what_the_code_has(table):
    """Names, defaults and meanings are the same in the code and in the documentation (mend: make docs)."""
    assert table.parted()[1] == table.lines()


@pytest.mark.parametrize("name", ["async_to", "describe_message"])
def test_the_arguments_are_the_options(name):
    """`async_to` has each option that it should, in the order and with the default of its row, and no other."""
    function = {"async_to": Handle.async_to, "describe_message": describe_message}[name]
    parameters = inspect.signature(function).parameters
    beside = {"self", "target", "params", "options"}
    if name == "describe_message":
        beside = {"target", "params", "routes", "limits", "trace_id", "message_id", "written_for"}
    rows = [option for option in OPTIONS if (option.in_async_to if name == "async_to" else option.in_json)]
    found = {given: parameters[given].default for given in parameters if given not in beside}
    assert found == {option.name: option.default for option in rows}


def test_an_option_is_stored():
    """The column of each option exists, and a value that JSON has as it is comes from an attribute of the message."""
    columns = set(Schema("ap4r_").messages.columns.keys())
    assert {option.column for option in OPTIONS if option.column} <= columns
    assert {option.name for option in OPTIONS if option.is_plain} <= set(Message._fields)


def test_every_ap4r_toml_in_the_documents_is_a_valid_one():
    """A piece of ap4r.toml that is copied from the documents causes no error."""
    pieces = [block for document in DOCUMENTS for block in blocks(document, "toml")]
    assert pieces
    for piece in pieces:
        parse_settings(tomllib.loads(piece.text), {}, {}, "/srv/shop", lambda reference: SECRET)
