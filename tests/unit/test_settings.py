"""Settings: three sources, one result, and refusals that name the setting, the source and the remedy."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.errors import ConfigError
from ap4r.outcome.backoff import Backoff
from ap4r.outcome.outcome import DeliveryRules
from ap4r.settings.fields import MOST, info_of
from ap4r.settings.load import parse_settings, parse_sourced_settings
from ap4r.settings.settings import Settings
from ap4r.settings.store_url import absolute_store

FIELDS = {spec.name: spec for spec in dataclasses.fields(Settings)}
NUMBERS = sorted(name for name, spec in FIELDS.items() if type(spec.default) in (int, float))
WHOLE = sorted(name for name, spec in FIELDS.items() if type(spec.default) is int)
TEXTS = sorted(name for name, spec in FIELDS.items() if isinstance(spec.default, str))


def _from_file(name, value):
    return parse_settings({name: value}, {}, {}, "/srv/shop")


def _from_variable(name, value):
    return parse_settings({}, {"AP4R_" + name.upper(): str(value)}, {}, "/srv/shop")


def _from_arguments(name, value):
    return parse_settings({}, {}, {name: value}, "/srv/shop")


SOURCES = {"ap4r.toml": _from_file, "AP4R_{}": _from_variable, "the arguments": _from_arguments}


def _refused(source, name, value):
    with pytest.raises(ConfigError) as refused:
        SOURCES[source](name, value)
    assert refused.value.setting == name
    assert source.format(name.upper()) in str(refused.value)
    assert len(str(refused.value)) < 1_000
    return refused.value.problem


def test_without_anything_the_defaults_hold():
    """No file, no variable, no argument: the defaults, with the store in the given folder."""
    url = "sqlite:////srv/shop/ap4r.db"
    assert parse_settings({}, {}, {}, "/srv/shop") == Settings(store=url, stores=(url,))


def test_the_defaults_are_the_promised_ones():
    """What an operator may rely on without setting anything."""
    promised = {
        "timeout_seconds": 30,
        "connect_timeout_seconds": 5,
        "store_deadline_seconds": 5,
        "put_memory_seconds": 900,
        "intake_memory_seconds": 86_400,
        "intake_rate": 10_000,
        "intake_body_seconds": 30,
        "grace_seconds": 25,
        "concurrency": 64,
        "max_messages": 1_000,
        "max_depth": 100,
        "max_request_bytes": 2**24,
        "max_body_bytes": 2**20,
        "max_header_bytes": 2**14,
        "buffer_bytes": 2**16,
        "wsdl_seconds": 10,
        "response_read_bytes": 2**20,
        "response_kept_bytes": 2**12,
        "max_deliveries": 20,
        "max_deliveries_client_error": 5,
        "client_error_seconds": 900.0,
        "max_crashes": 10,
        "give_up_after_seconds": 259_200,
        "retry_after_cap_seconds": 3_600,
        "backoff_first_seconds": 5,
        "backoff_factor": 2,
        "backoff_cap_seconds": 3_600,
    }
    assert {name: getattr(Settings(), name) for name in NUMBERS} == promised


def test_the_defaults_are_those_of_the_rules():
    """The delivery rules that follow from the defaults are those that a store or a test without settings has."""
    assert Settings().delivery_rules == DeliveryRules()


def test_delivery_rules_follow_the_settings():
    """Every setting that judges an attempt reaches the judge."""
    settings = Settings(
        success="ap4r",
        max_deliveries=1,
        max_deliveries_client_error=2,
        client_error_seconds=2.5,
        max_crashes=3,
        give_up_after_seconds=4.0,
        retry_after_cap_seconds=5.0,
        backoff_first_seconds=6.0,
        backoff_factor=7.0,
        backoff_cap_seconds=8.0,
    )
    assert settings.delivery_rules == DeliveryRules("ap4r", 1, 2, 2.5, 3, 4.0, 5.0, Backoff(6.0, 7.0, 8.0))


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_its_section_and_unit(name):
    """A setting belongs to a section, and a duration or a size has its unit, which all that list settings show."""
    info = info_of(FIELDS[name])
    unit = next((unit for ending, unit in {"_seconds": "s", "_bytes": "bytes"}.items() if name.endswith(ending)), None)
    assert info.section
    assert unit is None or info.unit == unit


def test_the_sections_follow_one_another():
    """The settings of a section stand together, so that a list of settings has one heading for each section."""
    sections = [info_of(spec).section for spec in FIELDS.values()]
    assert [section for section, _ in itertools.groupby(sections)] == list(dict.fromkeys(sections))


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_is(name):
    """A setting has a description and a default of its own type that passes its own check."""
    spec = FIELDS[name]
    assert len(info_of(spec).doc) > 10
    assert getattr(_from_arguments(name, spec.default), name) is not None
    if name in NUMBERS:
        assert info_of(spec).least is not None


def test_settings_cannot_be_changed():
    """Settings are an immutable value."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().concurrency = 1


@pytest.mark.parametrize(
    ("table", "environ", "overrides", "concurrency"),
    [
        ({"concurrency": 1}, {"AP4R_CONCURRENCY": "2"}, {"concurrency": 3}, 3),
        ({"concurrency": 1}, {"AP4R_CONCURRENCY": "2"}, {"concurrency": None}, 2),
        ({"concurrency": 1}, {"AP4R_CONCURRENCY": "2"}, {}, 2),
        ({"concurrency": 1}, {"CONCURRENCY": "2", "ap4r_concurrency": "2"}, {}, 1),
        ({}, {}, {}, 64),
    ],
)
def test_the_later_source_wins(table, environ, overrides, concurrency):
    """The file gives way to a variable, a variable to an argument; an argument of None is none."""
    assert parse_settings(table, environ, overrides, "/").concurrency == concurrency


@pytest.mark.parametrize(
    ("table", "environ", "overrides", "where"),
    [
        ({"concurrency": 0}, {"AP4R_CONCURRENCY": "2"}, {"concurrency": 3}, "ap4r.toml"),
        ({"concurrency": 1}, {"AP4R_CONCURRENCY": "x"}, {"concurrency": 3}, "AP4R_CONCURRENCY"),
    ],
)
def test_a_bad_value_is_reported_where_a_later_one_wins(table, environ, overrides, where):
    """A mistake does not hide behind another source until that one is taken away."""
    with pytest.raises(ConfigError, match=where):
        parse_settings(table, environ, overrides, "/")


@pytest.mark.parametrize(
    ("source", "name", "hint"),
    [
        ("ap4r.toml", "concurency", "did you mean concurrency"),
        ("ap4r.toml", "Store", "did you mean store"),
        ("ap4r.toml", "colour", "known are store, stores, create_tables"),
        ("ap4r.toml", "", "known are store, stores, create_tables"),
        ("the arguments", "timeout", "did you mean timeout_seconds"),
    ],
)
def test_an_unknown_name_is_refused(source, name, hint):
    """A misspelt name in the file or an argument, even of None, stops the start and tells what was likely meant."""
    assert f"unknown; {hint}" in _refused(source, name, None if source == "the arguments" else 1)


def test_variables_of_others_are_left_alone():
    """Kubernetes names variables after its services; one that is called ap4r must not stop the start."""
    environ = {"AP4R_PORT": "tcp://10.0.0.1:7438", "AP4R_SERVICE_HOST": "10.0.0.1", "AP4R_": "x", "AP4R_CONFIG": "x"}
    assert parse_settings({}, environ, {}, "/") == parse_settings({}, {}, {}, "/")


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("upstreams", "[upstreams.NAME]"),
        ("rewrite", "[[rewrite]]"),
        ("hosts", '[hosts."HOST"]'),
        ("senders", "[senders.NAME]"),
    ],
)
def test_a_variable_that_cannot_give_tables_is_refused(name, table):
    """Tables stand in the file: a variable of their name stops the start and says where to write them."""
    for text in ('{"web": {"servers": ["http://10.0.0.5"]}}', ""):
        assert f"write {table} into ap4r.toml" in _refused("AP4R_{}", name, text)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_within_its_range(name, source):
    """NaN, infinities, negative numbers and those beyond what timers bear are refused from every source."""
    least = info_of(FIELDS[name]).least
    for value in (float("nan"), float("inf"), float("-inf"), -1, least - 1, MOST + 1, 10**400, 1e300):
        assert f"from {least} up to 2,147,483,647" in _refused(source, name, value)
    for value in (least, MOST):
        taken = getattr(SOURCES[source](name, value), name)
        assert (taken, type(taken)) == (value, type(FIELDS[name].default))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", WHOLE)
def test_a_count_is_whole(name, source):
    """Half a message is refused; 64.0 is 64."""
    assert "whole number" in _refused(source, name, 64.5)
    taken = getattr(SOURCES[source](name, 64.0), name)
    assert (taken, type(taken)) == (64, int)


WRONG = [
    *[(name, value) for name in ("concurrency", "timeout_seconds") for value in ("64", True, [64], {"x": 1}, b"64")],
    *[("create_tables", value) for value in (1, 0, "true", "", [True])],
    *[(name, value) for name in TEXTS for value in (1, True, ["info"], b"info", {})],
    *[("app_urls", value) for value in (1, True, [], [1], ["http://a", None], {"http://a"}, {"http://a": 1})],
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_a_value_of_another_type_is_refused(name, value):
    """A value of the file or an argument is never coerced into the type that was meant."""
    for source in ("ap4r.toml", "the arguments"):
        problem = _refused(source, name, value)
        kinds = {"app_urls": "not a list of strings", "create_tables": "neither true nor false"}
        kind = "not a string" if name in TEXTS else kinds.get(name, "not a number")
        assert kind in problem


@pytest.mark.parametrize("name", [name for name, spec in FIELDS.items() if not info_of(spec).table])
def test_an_empty_variable_is_no_default(name):
    """AP4R_STORE= is a mistake that would send messages elsewhere, so it is an error instead of ignored."""
    for text in ("", " ", "\n"):
        problem = _refused("AP4R_{}", name, text)
        assert "empty" in problem
        assert "unset" in problem


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", TEXTS)
def test_text_has_no_control_characters(name, source):
    """A line break or a NUL within a value is refused from every source."""
    for text in ("sqlite:///a\nb", "a\x00b", "a\u2028b", "a\udcffb"):
        assert "control character" in _refused(source, name, text)


@pytest.mark.parametrize("text", ["64", " 64\n", "6.4e1", "64.0", "6_4", "+64"])
def test_a_variable_is_read_as_a_number(text):
    """A variable holds text; every usual spelling of the number is read."""
    assert _from_variable("concurrency", text).concurrency == 64


@pytest.mark.parametrize("text", ["x", "0x40", "64 s", "1,000", "9" * 5_000, "None"])
def test_a_variable_that_is_no_number_is_refused(text):
    """What is no number is refused, however long it is."""
    assert "is not a number" in _refused("AP4R_{}", "concurrency", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", True),
        ("TRUE", True),
        ("yes", True),
        ("on ", True),
        ("0", False),
        ("False", False),
        ("no", False),
        ("OFF", False),
    ],
)
def test_a_variable_is_read_as_true_or_false(text, value):
    """The usual words for true and false, in any case."""
    assert _from_variable("create_tables", text).create_tables is value


def test_a_variable_that_is_neither_true_nor_false_is_refused():
    """No word is true or false by accident."""
    assert "neither true nor false" in _refused("AP4R_{}", "create_tables", "maybe")


@pytest.mark.parametrize(("name", "value"), [("log_level", "INFO"), ("log_format", "xml"), ("success", "200")])
def test_a_choice_is_one_of_its_words(name, value):
    """A word that is no choice is refused with the choices, from every source."""
    for source in SOURCES:
        assert all(choice in _refused(source, name, value) for choice in info_of(FIELDS[name]).choices)


@pytest.mark.parametrize("prefix", ["ap4r_", "_", "A1", "x" * 32])
def test_a_table_prefix_is_a_name(prefix):
    """Letters, digits and _ make a prefix that every database takes."""
    assert _from_file("table_prefix", prefix).table_prefix == prefix


@pytest.mark.parametrize("prefix", ["", "1a", "a-b", "a.b", "a b", 'a"b', "ä", "x" * 33, "sqlite_", "SQLite_x", "a\n"])
def test_another_table_prefix_is_refused(prefix):
    """What would need quoting, be too long, or is SQLite's own is refused."""
    _refused("ap4r.toml", "table_prefix", prefix)


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("sqlite:///ap4r.db", "sqlite:////srv/shop/ap4r.db"),
        ("sqlite:///data/../ap4r.db", "sqlite:////srv/shop/ap4r.db"),
        ("sqlite:///../ap4r.db", "sqlite:////srv/ap4r.db"),
        ("sqlite:////var/lib/./ap4r.db", "sqlite:////var/lib/ap4r.db"),
        ("sqlite:///a b+%20ä.db", "sqlite:////srv/shop/a b+%20ä.db"),
        ("sqlite:///ap4r.db?timeout=1", "sqlite:////srv/shop/ap4r.db?timeout=1"),
        ("sqlite:////ap4r.db?x=/y/../z", "sqlite:////ap4r.db?x=/y/../z"),
        ("mysql+pymysql://u:p@db/shop", "mysql+pymysql://u:p@db/shop"),
        ("postgresql+psycopg://db/shop", "postgresql+psycopg://db/shop"),
        ("http://dispatcher:7438", "http://dispatcher:7438"),
    ],
)
def test_a_sqlite_path_counts_from_the_folder(url, absolute):
    """Whatever spelling, one file has one URL; stores elsewhere stay as they are written."""
    for source in SOURCES.values():
        assert source("store", url).store == absolute
    assert absolute_store(absolute, "/elsewhere") == absolute


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:",
        "sqlite:/",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///:memory:",
        "sqlite://?x",
        "sqlite:///?timeout=1",
        "sqlite:///data/",
        "sqlite:ap4r.db",
        "sqlite:/ap4r.db",
        "sqlite://ap4r.db",
        "SQLite:///ap4r.db",
        "sqlite+pysqlite:///ap4r.db",
        "sqlite+aiosqlite:///ap4r.db",
        "ap4r.db",
        "/srv/ap4r.db",
    ],
)
def test_a_store_that_names_no_file_is_refused(url):
    """Memory, a folder or a bare path cannot keep messages between processes: the error shows what to write."""
    for source in SOURCES.values():
        with pytest.raises(ConfigError, match=re.escape("sqlite:///ap4r.db")) as refused:
            source("store", url)
        assert refused.value.setting == "store"


def test_a_store_that_sqlalchemy_would_read_otherwise_is_refused():
    """A file: URI, or a folder with a question mark in its name, would be another file than the one meant."""
    with pytest.raises(ConfigError, match="remove the file:"):
        _from_file("store", "sqlite:///file:ap4r.db?uri=true")
    with pytest.raises(ConfigError, match="use another folder"):
        parse_settings({}, {}, {}, "/srv/what?/shop")


@pytest.mark.parametrize(
    ("given_as", "urls"),
    [
        ("http://127.0.0.1:8000", ("http://127.0.0.1:8000",)),
        (["http://10.0.0.5:8000", "http://10.0.0.6:8000"], ("http://10.0.0.5:8000", "http://10.0.0.6:8000")),
        (("http://a", "http://a"), ("http://a", "http://a")),
        (["HTTP://Shop.Example.COM:80/"], ("http://shop.example.com",)),
        (["https://bücher.example:443/shop/"], ("https://xn--bcher-kva.example/shop",)),
        (["http://[::1]:8000/"], ("http://[::1]:8000",)),
    ],
)
def test_app_urls_are_one_or_several_servers(given_as, urls):
    """One server or a list of them, in canonical form and without a last slash, in the order given."""
    assert _from_file("app_urls", given_as).app_urls == urls
    assert _from_arguments("app_urls", given_as).app_urls == urls


def test_app_urls_in_a_variable_are_separated_by_commas():
    """A variable holds several servers with commas between them, blanks and empty places left out."""
    assert _from_variable("app_urls", " http://a:1 ,http://b:2,, ").app_urls == ("http://a:1", "http://b:2")
    assert "list" in _refused("AP4R_{}", "app_urls", " , ")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:8000", "http://host:port"),
        ("/shop", "http://host:port"),
        ("ftp://a", "http://host:port"),
        ("unix:run/shop.sock", "unix:/run/app.sock"),
        ("unix:/", "unix:/run/app.sock"),
        ("http://a?x=1", "http://host:port"),
        ("http://a/?", "http://host:port"),
        ("http://a#x", "http://host:port"),
        ("http://", "no host"),
        ("http://a:0", "port"),
        ("http://a:99999", "port"),
        ("http://a:b", "port"),
        ("http://user:secret@a", "credentials"),
        ("http://a b", "space"),
        ("http://a/../b", "segment"),
    ],
)
def test_another_server_address_is_refused(url, why):
    """What is no server's address is refused with the reason, and no password is repeated."""
    for source in SOURCES.values():
        with pytest.raises(ConfigError, match=re.escape(why)) as refused:
            source("app_urls", url)
        assert refused.value.setting == "app_urls"
        assert "secret" not in str(refused.value)


TOML_VALUES = st.recursive(
    st.text(max_size=9) | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(sorted(FIELDS)), TOML_VALUES, max_size=3),
    st.dictionaries(st.sampled_from(sorted(FIELDS)).map(lambda name: "AP4R_" + name.upper()), st.text(max_size=9)),
    st.dictionaries(st.sampled_from(sorted(FIELDS)), TOML_VALUES | st.none(), max_size=3),
)
def test_any_values_make_settings_or_a_config_error(table, environ, overrides):
    """Whatever the sources hold, the start ends with settings in their ranges or with ConfigError, nothing else."""
    try:
        settings = parse_settings(table, environ, overrides, "/srv/shop")
    except ConfigError as error:
        # A table of a list is named by its number, as in "rewrite 2.match".
        assert error.setting.partition(".")[0].partition(" ")[0] in FIELDS
    else:
        for name in NUMBERS:
            assert info_of(FIELDS[name]).least <= getattr(settings, name) <= MOST


@pytest.mark.parametrize(("variable", "meant"), [("AP4R_STOR", "AP4R_STORE"), ("AP4R_APP_URL", "AP4R_APP_URLS")])
def test_a_misspelt_variable_is_refused(variable, meant):
    """A slip of the pen in the environment would otherwise send messages to another file."""
    with pytest.raises(ConfigError, match=f"did you mean {meant}"):
        parse_settings({}, {variable: "x"}, {}, "/srv")


_A, _B, _C = "sqlite:////srv/a.db", "mysql+pymysql://u:p@one,two/b", "postgresql+psycopg://c/c"


@pytest.mark.parametrize(
    ("table", "environ", "overrides", "store", "stores"),
    [
        ({"store": _A}, {}, {}, _A, (_A,)),
        ({"stores": [_A, _B]}, {}, {}, _A, (_A, _B)),
        ({"stores": _B}, {}, {}, _B, (_B,)),
        ({"stores": []}, {}, {}, "sqlite:////srv/shop/ap4r.db", ("sqlite:////srv/shop/ap4r.db",)),
        ({"store": _B, "stores": [_A, _B]}, {}, {}, _B, (_B, _A)),
        ({"store": _C, "stores": [_A, _B]}, {}, {}, _C, (_C, _A, _B)),
        ({"stores": [_A]}, {"AP4R_STORE": _C}, {}, _C, (_C, _A)),
        ({"stores": [_A]}, {"AP4R_STORES": f" {_B}  {_C} "}, {}, _B, (_B, _C)),
        ({"store": _A, "stores": [_A, _B]}, {}, {"store": _C, "stores": (_C,)}, _C, (_C,)),
        ({"stores": ["sqlite:///a.db", "sqlite:///./a.db", "sqlite:////srv/shop/a.db"]}, {}, {},
         "sqlite:////srv/shop/a.db", ("sqlite:////srv/shop/a.db",)),
    ],
)  # fmt: skip
def test_what_is_written_to_is_always_drained(table, environ, overrides, store, stores):
    """`stores` are what a dispatcher drains; `store` is one of them in any case, and by default the first."""
    settings = parse_settings(table, environ, overrides, "/srv/shop")
    assert (settings.store, settings.stores) == (store, stores)


def test_a_wrong_one_of_several_stores_is_reported_as_such():
    """The error names the setting in which it stands."""
    with pytest.raises(ConfigError, match=r"setting stores: .*names no file"):
        parse_settings({"stores": [_A, "sqlite:///"]}, {}, {}, "/srv/shop")


@pytest.mark.parametrize("value", [[""], ["ab"], [["http://a/b", "c"]], 5, "http://a/b", {"http://a/b": 5}, {"": "x"}])
def test_a_table_of_copies_that_is_none_is_refused(value):
    """Whatever stands in the place of [wsdl_copies], the error names it."""
    with pytest.raises(ConfigError, match="wsdl_copies"):
        _from_file("wsdl_copies", value)
    assert parse_settings({}, {}, {"wsdl_copies": (("http://a/b", "/c"),)}, "/").wsdl_copies


class TestSources:
    """Which place gave a value is known beside the value."""

    def sources(self, table=None, environ=None, **overrides):
        return parse_sourced_settings(table or {}, environ or {}, overrides, "/srv", file="/srv/ap4r.toml").sources

    def test_the_last_place_is_named(self):
        """Arguments take precedence over variables, and those over the file; a default has no source."""
        table = {"concurrency": 1, "listen": "none", "bell": "none"}
        environ = {"AP4R_CONCURRENCY": "2", "AP4R_LISTEN": "none"}
        assert self.sources(table, environ, concurrency=3, log_level=None) == {
            "concurrency": "the arguments",
            "listen": "AP4R_LISTEN",
            "bell": "/srv/ap4r.toml",
        }

    def test_what_another_setting_gives_has_its_source(self):
        """[upstreams.app] gives app_urls and secrets, and `store` and `stores` give one another."""
        table = {"upstreams": {"app": {"servers": ["http://127.0.0.1:1"]}}}
        assert self.sources(table) == {"upstreams": "/srv/ap4r.toml", "app_urls": "/srv/ap4r.toml"}
        assert self.sources(environ={"AP4R_STORE": "sqlite:///a.db"}) == {"store": "AP4R_STORE", "stores": "AP4R_STORE"}
        assert self.sources({"stores": ["sqlite:///a.db"]}, {"AP4R_STORE": "sqlite:///b.db"}) == {
            "store": "AP4R_STORE",
            "stores": "/srv/ap4r.toml",
        }
