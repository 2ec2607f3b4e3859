"""The use case `init`: a secret in ap4r.toml, so that deliveries are signed. It overwrites nothing."""

from __future__ import annotations

import base64
import os
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ap4r.errors import ConfigError
from ap4r.signing.signing import SECRET_PREFIX

_SECRET_BYTES = 32
_BYTE_ORDER_MARK = "\ufeff"  # some editors begin a file with it
_HEADER = "# Settings of ap4r, for the application and the dispatcher; docs/settings.md lists them all.\n"
_COMMENT = "# Signs deliveries to the application. Anyone who has it can pretend to be the dispatcher.\n"


@dataclass(frozen=True, slots=True)
class Initial:
    """The result: whether the file is new, whether it got a secret, and whether others can read it."""

    path: str
    made: bool
    added: bool
    readable_by_others: bool


def make_secret(random: Callable[[int], bytes] = os.urandom) -> str:
    """Return a new secret, in the form for ap4r.toml."""
    return SECRET_PREFIX + base64.b64encode(random(_SECRET_BYTES)).decode()


def extended(text: str, secret: str) -> str:
    """Return the text of an ap4r.toml with this secret in it; unchanged if it names secrets for `app` already.

    A line is added and every other one stays as it is.

    :raises ConfigError: the text is not TOML, or the secret cannot be added without changing a line.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("config", f"it cannot be read, so nothing was changed: {error}") from None
    upstreams = table.get("upstreams", {})
    app = upstreams.get("app", {}) if isinstance(upstreams, dict) else {}
    if table.get("secrets") or (isinstance(app, dict) and app.get("secrets")):
        return text
    if "secrets" in table or (isinstance(app, dict) and "secrets" in app):
        raise ConfigError(
            "secrets", f"it exists and is empty; write into it: {SECRET_PREFIX}… (`openssl rand -base64 32`)"
        )
    # Before everything else, because after the first [table] it would belong to that one.
    longer = f'{_COMMENT}secrets = ["{secret}"]\n' + (f"\n{text}" if text else "")
    if tomllib.loads(longer) != {**table, "secrets": [secret]}:
        raise ConfigError("config", "the secret cannot be added without changing a line; write it by hand")
    return longer


def initialise(path: Path, secret: str) -> Initial:
    """Write a secret into the settings file. A file that does not exist yet is created, readable by its owner only.

    :raises ConfigError: the file cannot be read or written; it is unchanged.
    """
    try:
        return _write_new(path, secret)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError("config", f"{path} cannot be written: {error.strerror}") from error
    try:
        text = path.read_bytes().decode()  # not read_text, which would change the ends of lines
        mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
        longer = mark + extended(text.removeprefix(mark), secret)
        if longer != text:
            _replace(path, longer)
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config", f"{path} cannot be read or written: {error}") from error
    except ConfigError as error:
        raise ConfigError(error.setting, f"{path}: {error.problem}") from None
    return Initial(str(path), False, longer != text, bool(mode & (stat.S_IRGRP | stat.S_IROTH)))


def _write_new(path: Path, secret: str) -> Initial:
    # Created with its mode, not changed to it: there is no moment at which others could read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(_HEADER + "\n" + extended("", secret))
    return Initial(str(path), True, True, False)


def _replace(path: Path, text: str) -> None:
    """Replace a file by another text atomically, with the same mode; a link's target, not the link."""
    real = path.resolve(strict=True)
    beside = real.with_name(f".{real.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
            before = real.stat()
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, before.st_uid, before.st_gid)
        os.replace(beside, real)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
