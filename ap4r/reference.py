"""What stands for a text that the settings do not hold: `env:NAME` for a variable, `file:PATH` for a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os.path import abspath, join
from pathlib import Path

from ap4r.redaction import shortened

REFERENCES = ("env", "file")  #: what stands before its colon

#: Gives the text that a reference like `env:NAME` or `file:/run/secrets/x` stands for, or raises ValueError.
ReadSecret = Callable[[str], str]


def is_reference(text: str) -> bool:
    """Tell whether a text is a reference, and not what is meant itself."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in REFERENCES


def read_reference(environ: Mapping[str, str], folder: Path, reference: str) -> str:
    """Read what a reference stands for; a relative path counts from `folder`.

    :raises ValueError: it is not there. The error names the reference only.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        if name not in environ:
            raise ValueError(f"the variable {shortened(name)} is not set")
        return environ[name]
    try:
        return (folder / name).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"the file {shortened(name)} cannot be read: {why}") from None


def in_folder(text: str, folder: str) -> str:
    """Return a text with the path of its file absolute, where it is a reference to one; others are returned as is."""
    kind, colon, path = text.partition(":")
    return f"file:{abspath(join(folder, path))}" if colon and kind == "file" and path else text


def refuse_reference(reference: str) -> str:
    """Read no reference: what a pure parse does."""
    raise ValueError(f"{reference.partition(':')[0]}: cannot be read here")
