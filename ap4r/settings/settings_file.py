"""The file ap4r.toml: its path and its table.

It is searched for in the working folder and the folders above it, then in the folder of the running script and those
above that one. So a script has the settings of its application wherever it is started.
"""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ap4r.errors import ConfigError
from ap4r.settings.environment import CONFIG_NAME, CONFIG_VARIABLE, config_path

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def find_settings_file(
    config: str | os.PathLike[str] | None, environ: Mapping[str, str], script_folder: str | None = None
) -> Path | None:
    """Return the absolute path of the settings' file: `config`, else AP4R_CONFIG, else the nearest ap4r.toml.

    A named file is returned whether it exists or not; without a name, None means that none was found.

    :param script_folder: the folder of the running script, if that is not the working folder.
    :raises ConfigError: AP4R_CONFIG is set, and empty.
    """
    named = config_path(config, environ)
    if config or environ.get(CONFIG_VARIABLE):
        return named.absolute()
    for start in (os.getcwd(), script_folder):
        for folder in () if start is None else _upwards(Path(start).absolute()):
            path = folder / CONFIG_NAME
            # Of the folders above, only those count in which other users cannot put a file, as they can in /tmp.
            if path.is_file() and (str(folder) == start or _is_trusted(path)):
                return path
    return None


def script_folder() -> str | None:
    """Return the folder of the script that this process runs; None for an interpreter or an installed command."""
    file: str | None = getattr(sys.modules.get("__main__"), "__file__", None)
    if not file:
        return None
    path = os.path.realpath(file)
    # Commands of an environment run in every folder, and do not show where an application is.
    installed = {os.path.realpath(sysconfig.get_path(name)) for name in ("scripts", "purelib", "platlib", "stdlib")}
    if path.startswith(tuple(folder + os.sep for folder in (*installed, os.path.dirname(os.path.realpath(__file__))))):
        return None
    return os.path.dirname(path)


def read_settings_file(path: Path) -> Mapping[str, object]:
    """Parse an ap4r.toml and return its table. A byte order mark, which some editors write, is skipped.

    :raises ConfigError: the file cannot be read, or is not TOML.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_UTF_16):
            raise ValueError("it is encoded as UTF-16; save it as UTF-8")
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("config", f"{path} cannot be read: {error}") from error


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _is_trusted(path: Path) -> bool:
    try:
        folder_mode = path.parent.stat().st_mode
        owner = path.stat().st_uid
    except OSError:
        return False
    return not folder_mode & stat.S_IWOTH or owner in (0, os.geteuid())
