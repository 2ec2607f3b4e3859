"""load_settings with real files: which one is read, what a relative store counts from, and what is told if it fails."""

from __future__ import annotations

import pytest

from ap4r.errors import ConfigError
from ap4r.settings import Settings, load_settings


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
    """A broken file is told with its path, whatever is broken in it."""
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
    """AP4R_CONFIG= is a mistake that would read another file, so it is told."""
    with pytest.raises(ConfigError, match="AP4R_CONFIG: it is empty"):
        load_settings(environ={"AP4R_CONFIG": ""})


def test_an_unknown_name_in_the_file_is_told(tmp_path):
    """A misspelt setting stops the start instead of being ignored."""
    with pytest.raises(ConfigError, match=r"setting concurency: in .*/ap4r\.toml: unknown"):
        load_settings(_write(tmp_path, "concurency = 3\n"), {})


def test_a_store_on_the_command_line_is_called_store():
    """What `--store` was given is told by that name, though it sets `stores` too."""
    with pytest.raises(ConfigError, match="setting store:"):
        load_settings(store="sqlite:///", stores=("sqlite:///",))
