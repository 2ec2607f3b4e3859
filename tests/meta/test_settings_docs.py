"""docs/settings.md says what the settings are."""

from __future__ import annotations

import tomllib

from ap4r.settings.load import parse_settings
from tests.meta.settings_table import BEGIN, DOCUMENT, END, settings_table
from tests.meta.tree import DOCUMENTS, blocks

SECRET = "whsec_" + "A" * 32


def test_every_setting_stands_in_the_table_with_its_default():
    """A setting, its default and its meaning are the same in the code and in docs/settings.md (mend: make docs)."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0] == settings_table()


def test_every_ap4r_toml_in_the_documents_is_a_valid_one():
    """A piece of ap4r.toml that is copied from the documents causes no error."""
    pieces = [block for document in DOCUMENTS for block in blocks(document, "toml")]
    assert pieces
    for piece in pieces:
        parse_settings(tomllib.loads(piece.text), {}, {}, "/srv/shop", lambda reference: SECRET)
