"""`ap4r init`: a secret in ap4r.toml, and nothing that was there is touched."""

from __future__ import annotations

import json
import os
import stat
import tomllib

import pytest

from ap4r.cli.__main__ import main
from ap4r.control.initialise import extended, make_secret
from ap4r.errors import ConfigError
from ap4r.settings.load import load_settings
from tests.support.signed import secret_text


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder, and no settings around."""
    monkeypatch.chdir(tmp_path)
    for name in ("AP4R_SECRETS", "AP4R_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_it_makes_a_file_for_its_owner_only(folder, capsys):
    """A fresh file has a good secret and mode 0600, and it is said what to do next; the secret itself is not said."""
    before = os.umask(0)
    try:
        assert main(["init"]) == 0
    finally:
        os.umask(before)
    path = folder / "ap4r.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [text] = tomllib.loads(path.read_text())["secrets"]
    assert len(load_settings(path, {}).secrets) == 1
    told = capsys.readouterr().out
    assert "created" in told
    assert "restart" in told
    assert text not in told


def test_it_is_idempotent(folder, capsys):
    """A second time nothing changes, byte for byte."""
    main(["init"])
    before = (folder / "ap4r.toml").read_bytes()
    capsys.readouterr()
    assert main(["init"]) == 0
    assert (folder / "ap4r.toml").read_bytes() == before
    assert "nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# mine\nconcurrency = 32 # more\n",
        "[upstreams.app]\nhost = 'shop.example.com'",
        "concurrency = 3\r\n[senders.a]\r\nsecrets = ['" + secret_text(1) + "']\r\n",
    ],
)
def test_it_extends_a_file_that_is_there(text, folder, capsys):
    """Every line stays as it was, comments and mode included; the secret is the application's."""
    path = folder / "other.toml"
    path.write_bytes(text.encode())
    path.chmod(0o644)
    assert main(["init", "--config", str(path)]) == 0
    assert path.read_bytes().endswith(text.encode())
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert "chmod 600" in capsys.readouterr().out
    before = tomllib.loads(text)
    after = tomllib.loads(path.read_bytes().decode())
    assert {name: value for name, value in after.items() if name != "secrets"} == before
    assert len(load_settings(path, {}).upstream("app").secrets) == 1
    assert sorted(os.listdir(folder)) == ["other.toml"]


@pytest.mark.parametrize("text", ['secrets = ["env:X"]\n', '[upstreams.app]\nsecrets = ["env:X"]\n'])
def test_a_secret_that_is_there_stays(text, folder):
    """Also one that is given by reference, or in the table."""
    (folder / "ap4r.toml").write_text(text)
    assert main(["init"]) == 0
    assert (folder / "ap4r.toml").read_text() == text


@pytest.mark.parametrize("text", ["secrets = [", "secrets = []\n", "[upstreams.app]\nsecrets = []\n", "\x00"])
def test_a_file_that_it_cannot_extend_stays(text, folder, capsys):
    """What is no TOML, or has an empty list, is left alone, with a word about it and exit code 2."""
    (folder / "ap4r.toml").write_text(text)
    assert main(["init"]) == 2
    assert (folder / "ap4r.toml").read_text() == text
    assert "ap4r.toml" in capsys.readouterr().err


def test_a_link_stays_a_link(folder):
    """The file behind a link is extended, the link is not replaced."""
    (folder / "real").mkdir()
    (folder / "real" / "ap4r.toml").write_text("concurrency = 3\n")
    (folder / "ap4r.toml").symlink_to("real/ap4r.toml")
    assert main(["init"]) == 0
    assert (folder / "ap4r.toml").is_symlink()
    assert "whsec_" in (folder / "real" / "ap4r.toml").read_text()


def test_a_folder_that_is_not_there_is_an_error(folder, capsys):
    """No folder is made by a slip of the pen."""
    assert main(["init", "--config", str(folder / "nowhere" / "ap4r.toml")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_machines_can_read_what_was_done(folder, monkeypatch, capsys):
    """--json tells the same; AP4R_CONFIG names the file."""
    monkeypatch.setenv("AP4R_CONFIG", str(folder / "named.toml"))
    assert main(["init", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"path": str(folder / "named.toml"), "made": True, "added": True, "readable_by_others": False}


def test_a_variable_that_wins_is_reported(folder, monkeypatch, capsys):
    """If AP4R_SECRETS is set, the command says that the file's secret is not used."""
    monkeypatch.setenv("AP4R_SECRETS", secret_text(1))
    main(["init"])
    assert "AP4R_SECRETS is set" in capsys.readouterr().out


def test_every_secret_is_another():
    """32 random bytes each."""
    assert len({make_secret() for _ in range(100)}) == 100
    assert make_secret(lambda size: bytes(size)) == "whsec_" + "A" * 43 + "="


def test_a_file_is_never_spoiled():
    """Where a first line would change the meaning of others, nothing is written."""
    with pytest.raises(ConfigError):
        extended("secrets = 'x\n", secret_text(1))
