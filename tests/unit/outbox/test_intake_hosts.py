"""The URLs of intakes, and the order in which they are tried."""

from __future__ import annotations

import pytest

from ap4r.errors import ConfigError
from ap4r.outbox.intake_client.hosts import IntakeHost, Rotation, parse_intake
from ap4r.settings.secrets import read_tokens

A, B, C = (IntakeHost(name) for name in "abc")


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://127.0.0.1:7438", [IntakeHost("127.0.0.1", 7438)]),
        ("http://jobs.example.com/", [IntakeHost("jobs.example.com", 7438)]),
        ("http://a:1,http://b:2", [IntakeHost("a", 1), IntakeHost("b", 2)]),
        ("http://a:1, b:2", [IntakeHost("a", 1), IntakeHost("b", 2)]),
        ("https://a:443,http://[::1]:2", [IntakeHost("a", 443, True), IntakeHost("::1", 2)]),
        ("http+unix:///run/ap4r/intake.sock", [IntakeHost(path="/run/ap4r/intake.sock")]),
    ],
)
def test_urls(url, hosts):
    """One intake or several, by name, address or path; and the name of each reads the same."""
    assert list(parse_intake(url)) == hosts
    assert list(parse_intake(",".join(host.url for host in hosts))) == hosts


@pytest.mark.parametrize(
    "url",
    [
        *("http://", "http://a:0", "http://a:x", "http://a/path", "http://a?b", "http://u:p@a", "http://a,,b"),
        *("http+unix://a/b", "http+unix:///", "ftp://a", "http://a,ftp://b", "http://a,a", "http://[::1"),
    ],
)
def test_what_is_no_url_is_refused(url):
    """The error names the setting, and no password."""
    with pytest.raises(ConfigError, match="store") as refused:
        parse_intake(url)
    assert "u:p" not in str(refused.value)


def rotation(*hosts):
    """Return a rotation that begins with the first."""
    return Rotation(hosts, shuffle=lambda order: None)


def test_every_put_begins_with_another_host():
    """Puts are spread, and each has all hosts to fall back on."""
    turns = rotation(A, B, C)
    assert [turns.order(0.0) for _ in range(4)] == [[A, B, C], [B, C, A], [C, A, B], [A, B, C]]


def test_one_that_failed_is_tried_last_for_a_while():
    """A host that failed is asked only when no other takes the put, until its time is over or it has worked."""
    turns = rotation(A, B)
    turns.failed(A, 0.0)
    assert [turns.order(4.9), turns.order(4.9), turns.order(5.0)] == [[B, A], [B, A], [A, B]]
    turns.failed(B, 5.0)
    turns.succeeded(B)
    assert turns.order(5.0) == [B, A]


class TestTokens:
    LONG = "a-token-of-sixteen-characters"

    def test_references(self, tmp_path):
        """A token is given, or said where it is; a reference may stand for several."""
        (tmp_path / "file").write_text(f"{self.LONG}1\n{self.LONG}2\n")
        given = (self.LONG, "env:TOKEN", f"file:{tmp_path}/file")
        assert read_tokens(given, {"TOKEN": f"{self.LONG}0"}) == (
            self.LONG, f"{self.LONG}0", f"{self.LONG}1", f"{self.LONG}2",
        )  # fmt: skip
        assert read_tokens(()) == ()

    @pytest.mark.parametrize("given", ["env:NONE", "file:/nowhere", "short", "ümlaut-ümlaut-ümlaut", "env:EMPTY"])
    def test_what_is_none_is_refused(self, given):
        """The error names the setting, and never a token."""
        with pytest.raises(ConfigError, match="intake_token") as refused:
            read_tokens((given,), {"EMPTY": " "})
        assert given not in refused.value.problem or given.startswith("file:")
