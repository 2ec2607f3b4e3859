"""Every setting of ap4r: a pure parse of tables and environment, and a thin load of ap4r.toml.

One class holds each name, default and unit; docs/settings.md is held equal to it by a test.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ap4r.backoff import Backoff
from ap4r.errors import ConfigError, TargetRefused, shortened
from ap4r.outcome import DeliveryRules
from ap4r.target import parse_target

CONFIG_NAME = "ap4r.toml"
ENVIRONMENT_PREFIX = "AP4R_"
MOST = 2**31 - 1  #: of every number: 68 years, 2 GiB; what timers and databases still bear
_SQLITE = "sqlite:///"
_TABLE_PREFIX = re.compile(r"(?!sqlite_)[a-z_][a-z0-9_]{0,31}", re.IGNORECASE)
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def _is(default: Any, says: str, *, least: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"says": says, "least": least, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set, with its default. Durations are seconds, sizes are bytes."""

    store: str = _is("sqlite:///ap4r.db", "where messages are kept; a relative path counts from ap4r.toml's folder")
    stores: tuple[str, ...] = _is(
        (), "all that a dispatcher drains; `store` is always one of them, by default the first"
    )
    app_urls: tuple[str, ...] = _is(("http://127.0.0.1:8000",), "the servers of the upstream `app`, used in turn")
    create_tables: bool = _is(True, "make the tables in an empty store on first use")
    table_prefix: str = _is("ap4r_", "what every table's name begins with")
    put_memory_seconds: float = _is(900.0, "how long a repeated put is recognised", least=1)
    store_deadline_seconds: float = _is(5.0, "the longest that one call of the store may take", least=0.1)

    max_messages: int = _is(1_000, "messages of one request", least=1)
    max_request_bytes: int = _is(
        16 * 1024 * 1024, "bytes of all messages of one request, where it has several", least=1
    )
    max_body_bytes: int = _is(1024 * 1024, "bytes of one message's body", least=0)
    max_header_bytes: int = _is(16 * 1024, "bytes of one message's headers", least=0)
    buffer_bytes: int = _is(
        64 * 1024, "how much of a response without Content-Length is held until its verdict; 0 streams", least=0
    )

    listen: str = _is("tcp:7438:interface=127.0.0.1", "where the dispatcher answers /healthz; `none` for nowhere")
    bell: str = _is("udp:0:interface=127.0.0.1", "where the dispatcher hears of new messages; `none` for polling only")
    concurrency: int = _is(64, "calls in flight at once", least=1)
    grace_seconds: float = _is(25.0, "how long calls in flight may take to end at SIGTERM", least=0)
    timeout_seconds: float = _is(30.0, "the deadline of one whole exchange", least=0.001)
    connect_timeout_seconds: float = _is(5.0, "the deadline of making a connection", least=0.001)
    success: str = _is(
        "2xx", "what counts as delivered; `ap4r`: status 200 and a body with “true”", choices=("2xx", "ap4r")
    )
    max_deliveries: int = _is(20, "failures after which a message is dead", least=1)
    max_deliveries_client_error: int = _is(5, "the same where the last was a 4xx (not 408, 409, 425, 429)", least=1)
    max_crashes: int = _is(10, "dispatchers a message may see die before it is dead itself", least=1)
    give_up_after_seconds: float = _is(259_200.0, "the age at which no attempt is begun any more", least=0)
    backoff_first_seconds: float = _is(5.0, "the longest wait after the first attempt", least=0)
    backoff_factor: float = _is(2.0, "what the longest wait grows by with each attempt", least=1)
    backoff_cap_seconds: float = _is(3_600.0, "what it never grows beyond", least=0)
    retry_after_cap_seconds: float = _is(3_600.0, "the longest Retry-After that is obeyed", least=0)
    response_read_bytes: int = _is(1024 * 1024, "how much of a response is read before it is too large", least=0)
    response_kept_bytes: int = _is(4 * 1024, "how much of a failed response is kept for a person", least=0)

    log_level: str = _is("info", "what is logged", choices=("debug", "info", "warn", "error"))
    log_format: str = _is("text", "one line an event, for people or for machines", choices=("text", "json"))

    @property
    def delivery_rules(self) -> DeliveryRules:
        """The settings that judge an attempt."""
        return DeliveryRules(
            success=self.success,
            max_deliveries=self.max_deliveries,
            max_deliveries_client_error=self.max_deliveries_client_error,
            max_crashes=self.max_crashes,
            give_up_after_seconds=self.give_up_after_seconds,
            retry_after_cap_seconds=self.retry_after_cap_seconds,
            backoff=Backoff(self.backoff_first_seconds, self.backoff_factor, self.backoff_cap_seconds),
        )


def parse_settings(
    table: Mapping[str, object], environ: Mapping[str, str], overrides: Mapping[str, object], folder: str
) -> Settings:
    """Combine ap4r.toml's table, AP4R_* variables and overrides, the later winning, into valid settings.

    An override of None is as good as absent. A variable that is nearly the name of a setting is refused; others are
    left alone, whatever they are called: Kubernetes makes some for every service, and one may be named ap4r.

    :param folder: what a relative SQLite path counts from.
    :raises ConfigError: naming the setting that is unknown, of the wrong type or out of range, and where it stands.
    """
    known = {spec.name: spec for spec in fields(Settings)}
    values: dict[str, Any] = {name: spec.default for name, spec in known.items()}
    given: list[tuple[str, str, object]] = [(name, CONFIG_NAME, value) for name, value in table.items()]
    for name, spec in known.items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in environ:
            given.append((name, variable, _from_text(name, variable, spec.default, environ[variable])))
    given += [(name, "the arguments", value) for name, value in overrides.items() if value is not None]
    for name in [*table, *overrides]:
        if name not in known:
            where = CONFIG_NAME if name in table else "the arguments"
            near = get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
            raise ConfigError(name, f"in {where}: unknown; {hint}")
    _refuse_misspelt(environ, known)
    for name, where, value in given:
        values[name] = _checked(name, where, known[name], value)
    stores = [absolute_store(url, folder, "stores") for url in values["stores"]]
    # Written to is always what somebody drains.
    told = not stores or any(name == "store" for name, _, _ in given)
    values["store"] = absolute_store(values["store"], folder) if told else stores[0]
    values["stores"] = tuple(dict.fromkeys([values["store"], *stores]))
    values["app_urls"] = tuple(_server_url(url) for url in values["app_urls"])
    return Settings(**values)


def _refuse_misspelt(environ: Mapping[str, str], known: Collection[str]) -> None:
    for variable in environ:
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if variable.startswith(ENVIRONMENT_PREFIX) and name not in known and name != "config":
            near = get_close_matches(name, [*known, "config"], n=1, cutoff=0.8)
            if near:
                meant = ENVIRONMENT_PREFIX + near[0].upper()
                raise ConfigError(name, f"in {variable}: unknown; did you mean {meant}")


def load_settings(
    config: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None, **overrides: object
) -> Settings:
    """Read the settings: ap4r.toml, then AP4R_* variables, then `overrides`, the later winning.

    The file is `config`, else AP4R_CONFIG, else ap4r.toml in the working folder if there is one.

    :raises ConfigError: when a named file cannot be read, or a setting is unknown or out of range.
    """
    environ = os.environ if environ is None else environ
    variable = ENVIRONMENT_PREFIX + "CONFIG"
    if not config and environ.get(variable) == "":
        raise ConfigError("config", f"in {variable}: it is empty; give a file, or unset it")
    named = config or environ.get(variable)
    path = Path(named or CONFIG_NAME)
    table: Mapping[str, object] = {}
    if named or path.is_file():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError("config", f"{path} cannot be read: {error}") from error
        # Not resolved: a mounted file is often a link into a folder that changes with each version of it.
        folder = path.absolute().parent
    else:
        folder = Path.cwd()
    return parse_settings(table, environ, overrides, str(folder))


def absolute_store(url: str, folder: str, setting: str = "store") -> str:
    """Make an SQLite path absolute, counted from `folder`; leave every other URL alone.

    :raises ConfigError: it names no file, or is no URL at all.
    """
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ConfigError(setting, "it is no URL; a file is written sqlite:///ap4r.db, or sqlite:////srv/ap4r.db")
    if scheme.lower().partition("+")[0] != "sqlite":
        return url
    path, question_mark, query = url.removeprefix(_SQLITE).partition("?")
    if not url.startswith(_SQLITE) or not path or path == ":memory:" or path.endswith("/"):
        raise ConfigError(setting, f"{url} names no file; write sqlite:///ap4r.db, or sqlite:////srv/ap4r.db")
    if path.startswith("file:"):
        raise ConfigError(setting, f"{url}: leave out the file:")
    absolute = os.path.abspath(os.path.join(folder, path))
    if "?" in absolute:
        raise ConfigError(setting, f"{absolute} has a ?, which no store's URL can have in its path; use another folder")
    return _SQLITE + absolute + question_mark + query


def _checked(name: str, where: str, spec: Field[Any], value: object) -> object:
    """Give a value of the setting's own type and within its range."""

    def refused(problem: str) -> ConfigError:
        return ConfigError(name, f"in {where}: {shortened(value)} {problem}")

    default, least, choices = spec.default, spec.metadata["least"], spec.metadata["choices"]
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise refused("is neither true nor false")
        return value
    if isinstance(default, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise refused("is not a number")
        if not least <= value <= MOST:  # so written that NaN is refused
            raise refused(f"is not a number from {least} up to {MOST:,}")
        if isinstance(default, int) and value != int(value):
            raise refused("is not a whole number")
        return int(value) if isinstance(default, int) else float(value)
    texts: Sequence[Any] = value if isinstance(default, tuple) and isinstance(value, (list, tuple)) else [value]
    if not (texts or default == ()) or not all(isinstance(text, str) for text in texts):
        raise refused("is not a list of strings" if isinstance(default, tuple) else "is not a string")
    if not all(text and text == text.strip() and text.isprintable() for text in texts):
        raise refused("is empty, or has blanks at its ends or a control character")
    if choices and value not in choices:
        raise refused(f"is not one of {', '.join(choices)}")
    if name == "table_prefix" and not _TABLE_PREFIX.fullmatch(texts[0]):
        raise refused("is not a name of at most 32 letters, digits and _ (and sqlite_ is SQLite's own)")
    return tuple(texts) if isinstance(default, tuple) else texts[0]


def _from_text(name: str, variable: str, default: object, text: str) -> object:
    """Read a variable as what the setting is; what cannot be read stays text, to be refused as every other."""
    text = text.strip()
    if not text:
        raise ConfigError(name, f"in {variable}: it is empty; give a value, or unset it")
    if isinstance(default, bool):
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    if isinstance(default, (int, float)):
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    if name == "stores":
        return text.split()  # a comma stands between the hosts of one
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _server_url(url: str) -> str:
    if not url.lower().startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise ConfigError("app_urls", f"{shortened(url)} is not of the form http://host:port")
    try:
        return parse_target(url)[0].url.rstrip("/")
    except TargetRefused as error:
        raise ConfigError("app_urls", f"{shortened(url)}: {error.problem}") from error
