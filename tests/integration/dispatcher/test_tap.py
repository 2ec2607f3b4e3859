"""tap: the options of `twistd ap4r`, and what they become."""

from __future__ import annotations

import sys
from dataclasses import fields

import pytest
from twisted.python.usage import UsageError

from ap4r.dispatcher.app_server.server import load_app
from ap4r.errors import ConfigError
from ap4r.settings.fields import default_text, info_of
from ap4r.settings.settings import Settings
from ap4r.tap import Options


def parse(*arguments):
    """Parse a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """Keep settings of the surroundings out, and the path as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("AP4R_STORE", "AP4R_CONFIG", "AP4R_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)


def test_without_options_the_defaults_hold(tmp_path):
    """A store in the working folder, the application on port 8000."""
    settings = parse().read_settings()
    assert settings.store == f"sqlite:///{tmp_path}/ap4r.db"
    assert settings.app_urls == ("http://127.0.0.1:8000",)
    assert (settings.concurrency, settings.grace_seconds) == (64, 25.0)


def test_options_are_settings():
    """Each option reaches the setting that it names."""
    settings = parse(
        "--store=sqlite:////x.db", "--app-url=http://a:1", "--app-url=http://b:2", "--listen=none", "--bell=none",
        "--concurrency=7", "--grace=2.5", "--log-format=json", "--log-level=debug",
    ).read_settings()  # fmt: skip
    assert settings.store == "sqlite:////x.db"
    assert settings.app_urls == ("http://a:1", "http://b:2")
    assert (settings.listen, settings.bell) == ("none", "none")
    assert (settings.concurrency, settings.grace_seconds) == (7, 2.5)
    assert (settings.log_format, settings.log_level) == ("json", "debug")


def test_the_command_line_wins(monkeypatch):
    """Over the environment."""
    monkeypatch.setenv("AP4R_CONCURRENCY", "3")
    assert parse().read_settings().concurrency == 3
    assert parse("--concurrency=9").read_settings().concurrency == 9


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--concurrency=x", "concurrency"),
        ("--grace=soon", "grace"),
        ("--app-threads=0", "app-threads"),
        ("--app-threads=many", "app-threads"),
        ("--app=:x", "app"),
        ("--nonsense", "nonsense"),
    ],
)
def test_what_means_nothing_is_refused(argument, said):
    """By name, before anything is opened."""
    with pytest.raises(UsageError, match=said):
        parse(argument)


@pytest.mark.parametrize("argument", ["--concurrency=0", "--grace=-1", "--log-level=loud", "--config=nowhere.toml"])
def test_what_is_out_of_range_is_refused(argument):
    """When the settings are read, naming the setting."""
    with pytest.raises(ConfigError):
        parse(argument).read_settings()


def test_the_working_folder_is_on_the_path(tmp_path):
    """The application's modules are where twistd is run."""
    parse()
    assert str(tmp_path) in sys.path


def test_help_says_what_each_option_is_for():
    """Every option with a text."""
    text = Options().getUsage()
    for option in ("store", "config", "app", "app-url", "app-listen", "app-threads", "listen", "bell", "concurrency",
                   "grace", "log-format", "log-level"):  # fmt: skip
        assert f"--{option}=" in text


def test_the_options_that_are_settings_are_described_as_the_settings():
    """Each option that is a setting has the description and the default of the setting."""
    text = " ".join(Options().getUsage().split())
    for spec in fields(Settings):
        info = info_of(spec)
        if info.flag:
            assert f"--{info.flag}=" in text
            assert " ".join(info.doc[1:].split()) in text
            assert f"[default: {default_text(spec)}]" in text


class TestPidfile:
    def parsed(self, monkeypatch, given, *arguments):
        """Parse below twistd's own options."""
        monkeypatch.setattr(sys, "argv", ["twistd", *arguments, "ap4r"])
        options = Options()
        options.parent = {"pidfile": given}
        options.parseOptions([])
        return options.parent["pidfile"]

    def test_none_unless_asked_for(self, monkeypatch):
        """A dispatcher leaves no file behind by itself."""
        assert self.parsed(monkeypatch, "twistd.pid", "-n") == ""

    @pytest.mark.parametrize(
        ("given", "arguments"), [("x.pid", ["--pidfile=x.pid"]), ("twistd.pid", ["--pidfile", "twistd.pid"])]
    )
    def test_one_that_was_asked_for(self, monkeypatch, given, arguments):
        """Also when it is called as twistd would call it."""
        assert self.parsed(monkeypatch, given, *arguments) == given


class TestLoadApp:
    def module(self, tmp_path, monkeypatch, name, text):
        """Write a module."""
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))

    def test_by_module_and_name(self, tmp_path, monkeypatch):
        """`application` when no name is given; dots are followed."""
        self.module(
            tmp_path, monkeypatch, "loadable",
            "def application(e, s): pass\nclass shop:\n    app = staticmethod(application)\n",
        )  # fmt: skip
        found = load_app("loadable")
        assert load_app("loadable:application") is found
        assert load_app("loadable:shop.app") is found

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("nowhere:app", "No module named 'nowhere'"),
            ("broken", r"RuntimeError: no database .*broken\.py, line 2"),
            ("crooked", "SyntaxError"),
            ("empty:app", "has no app"),
            ("empty:x", "is a int"),
        ],
    )
    def test_why_it_cannot_be_had_is_said(self, tmp_path, monkeypatch, name, said):
        """Not found, broken on import, without that name, or nothing to call."""
        self.module(tmp_path, monkeypatch, "broken", "\nraise RuntimeError('no database')\n")
        self.module(tmp_path, monkeypatch, "crooked", "def def\n")
        self.module(tmp_path, monkeypatch, "empty", "x = 1\n")
        with pytest.raises(ConfigError, match=said):
            load_app(name)
