"""load_settings with real files: which one is read, what a relative store counts from, and the errors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ap4r.errors import ConfigError
from ap4r.settings.load import load_settings
from ap4r.settings.secrets import read_tokens
from ap4r.settings.settings import Settings


def _write(folder, text, name="ap4r.toml"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_store_counts_from_the_working_folder(tmp_path, monkeypatch):
    """No ap4r.toml: the defaults, and the store in the folder of the process."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/ap4r.db"
    assert load_settings(environ={}) == Settings(store=url, stores=(url,))


def test_the_file_of_the_working_folder_is_read(tmp_path, monkeypatch):
    """ap4r.toml beside the process is read without being named."""
    _write(tmp_path, "concurrency = 3\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={}).concurrency == 3
    assert load_settings(environ={"AP4R_CONCURRENCY": "4"}).concurrency == 4
    assert load_settings(environ={"AP4R_CONCURRENCY": "4"}, concurrency=5).concurrency == 5


def test_a_named_file_wins_and_the_store_counts_from_its_folder(tmp_path, monkeypatch):
    """The argument before AP4R_CONFIG before the working folder; a relative store counts from the file that is read."""
    _write(tmp_path, "concurrency = 1\n")
    variable = _write(tmp_path / "variable", "concurrency = 2\n", "shop.toml")
    argument = _write(tmp_path / "argument", 'concurrency = 3\nstore = "sqlite:///data/shop.db"\n', "shop.toml")
    monkeypatch.chdir(tmp_path)
    environ = {"AP4R_CONFIG": str(variable)}
    assert load_settings(environ=environ).concurrency == 2
    for config in (argument, str(argument), "argument/shop.toml"):
        settings = load_settings(config, environ)
        assert settings.concurrency == 3
        assert settings.store == f"sqlite:///{tmp_path}/argument/data/shop.db"


def test_a_store_from_elsewhere_counts_from_the_files_folder_too(tmp_path, monkeypatch):
    """A relative store in a variable or an argument counts from ap4r.toml's folder, not from the process."""
    path = _write(tmp_path / "conf", "")
    monkeypatch.chdir(tmp_path)
    expected = f"sqlite:///{tmp_path}/conf/x.db"
    assert load_settings(path, {"AP4R_STORE": "sqlite:///x.db"}).store == expected
    assert load_settings(path, {}, store="sqlite:///x.db").store == expected


def test_a_link_counts_from_where_it_stands(tmp_path):
    """A mounted configuration is a link into a folder that is replaced at each change; the store must not move."""
    for version in ("one", "two"):
        real = _write(tmp_path / version, "", "ap4r.toml")
        link = tmp_path / "ap4r.toml"
        link.unlink(missing_ok=True)
        link.symlink_to(real)
        assert load_settings(link, {}).store == f"sqlite:///{tmp_path}/ap4r.db"


@pytest.mark.parametrize(
    "content",
    [b"concurrency = ", b"\xff\xfe", b"a = 1\na = 2\n", b"x = " + b"[" * 100_000, b"x = " + b"9" * 5_000, b"\x00"],
    ids=["cut", "latin", "twice", "deep", "long", "nul"],
)
def test_a_file_that_is_no_toml_is_a_config_error(content, tmp_path):
    """The error for a broken file names its path, whatever is broken in it."""
    path = tmp_path / "ap4r.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ap4r\.toml cannot be read") as refused:
        load_settings(path, {})
    assert refused.value.setting == "config"


@pytest.mark.parametrize("named", ["missing.toml", "."])
def test_a_named_file_must_be_there(named, tmp_path, monkeypatch):
    """A file that was asked for by name and is missing, or a folder, stops the start."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(named, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(environ={"AP4R_CONFIG": named})


def test_an_empty_variable_names_no_file():
    """AP4R_CONFIG= is a mistake that would read another file, so it is an error."""
    with pytest.raises(ConfigError, match="AP4R_CONFIG: it is empty"):
        load_settings(environ={"AP4R_CONFIG": ""})


def test_an_unknown_name_in_the_file_is_reported(tmp_path):
    """A misspelt setting stops the start instead of being ignored."""
    with pytest.raises(ConfigError, match=r"setting concurency: in .*/ap4r\.toml: unknown"):
        load_settings(_write(tmp_path, "concurency = 3\n"), {})


def test_a_store_on_the_command_line_is_called_store():
    """The error for a value of `--store` names that option, although it sets `stores` too."""
    with pytest.raises(ConfigError, match="setting store:"):
        load_settings(store="sqlite:///", stores=("sqlite:///",))


@pytest.mark.parametrize(
    "content", [b'\xef\xbb\xbfstore = "sqlite:///a.db"\n', b'\xef\xbb\xbfstore = "sqlite:///a.db"\r\n']
)
def test_a_byte_order_mark_is_passed_over(content, tmp_path):
    """Notepad's and PowerShell's UTF-8 begins with a mark, which is no part of the settings."""
    path = tmp_path / "ap4r.toml"
    path.write_bytes(content)
    assert load_settings(path, {}).store == f"sqlite:///{tmp_path}/a.db"


def test_utf_16_is_reported_by_its_name(tmp_path):
    """A file that PowerShell's redirection wrote names the encoding to save it in."""
    path = tmp_path / "ap4r.toml"
    path.write_bytes('store = "sqlite:///a.db"\n'.encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-16; save it as UTF-8"):
        load_settings(path, {})


def test_the_nearest_file_above_the_working_folder_is_read(tmp_path, monkeypatch):
    """A process that starts in a folder of the project has the project's settings, and its store."""
    _write(tmp_path, "concurrency = 1\n")
    _write(tmp_path / "shop", "concurrency = 2\n")
    (tmp_path / "shop/scripts/old").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop/scripts/old")
    settings = load_settings(environ={})
    assert (settings.concurrency, settings.store) == (2, f"sqlite:///{tmp_path}/shop/ap4r.db")


def test_a_file_that_strangers_can_write_above_us_is_not_read(tmp_path, monkeypatch):
    """In a folder like /tmp another user's ap4r.toml would say where our messages go."""
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    path = _write(tmp_path / "shared", "concurrency = 2\n")
    if path.stat().st_uid == 0:
        os.chown(path, 1234, 1234)
    work = tmp_path / "shared/work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert load_settings(environ={}).concurrency == 2
    (tmp_path / "shared").chmod(0o1777)
    assert load_settings(environ={}).concurrency == 64


def _run(folder, *command, **environ):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AP4R_")}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=variables | environ, capture_output=True, text=True, check=False
    )


SCRIPT = "import ap4r\nwith ap4r.session() as handle: handle.async_to('/x', {})\n"


def test_a_script_uses_the_settings_beside_it(tmp_path):
    """A cron job that starts in another folder puts into the store of the application that the script belongs to."""
    _write(tmp_path / "shop", "")
    script = _write(tmp_path / "shop/scripts", SCRIPT, "nightly.py")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = _run(elsewhere, str(script))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "shop/ap4r.db").exists()
    assert not list(elsewhere.iterdir())


def test_a_script_without_settings_says_where_its_new_store_is(tmp_path):
    """A store that a script creates without settings is logged once, with the command that delivers from it."""
    script = _write(tmp_path / "scripts", SCRIPT, "nightly.py")
    work = tmp_path / "work"
    work.mkdir()
    done = _run(work, str(script))
    assert done.returncode == 0
    assert f"in a new store, {work}/ap4r.db" in done.stderr
    assert f"--store sqlite:///{work}/ap4r.db" in done.stderr
    assert _run(work, str(script)).stderr == ""
    assert _run(work, str(script), AP4R_STORE=f"sqlite:///{work}/named.db").stderr == ""


@pytest.mark.parametrize("start", ["conf", "elsewhere"])
def test_file_references_count_from_the_settings_folder(start, tmp_path, monkeypatch):
    """`file:` of intake_token and of secrets is read beside ap4r.toml, in every working folder."""
    path = _write(tmp_path / "conf", 'intake_token = ["file:tok"]\nsecrets = ["file:sec"]\n')
    _write(tmp_path / "conf", "\ufefftoken-of-sixteen-characters\n", "tok")
    _write(tmp_path / "conf", "\ufeffwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "sec")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / start)
    settings = load_settings(path, {})
    assert read_tokens(settings.intake_token) == ("token-of-sixteen-characters",)
    assert len(settings.secrets) == 1
