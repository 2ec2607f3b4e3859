"""What `ap4r doctor` says about signatures: pure parts."""

from __future__ import annotations

import pytest

from ap4r.control.trust_check import Trust, health_address, look, trust_findings, trust_notes
from ap4r.settings.settings import Settings


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:7438:interface=127.0.0.1", "127.0.0.1:7438"),
        ("tcp:7438", "127.0.0.1:7438"),
        ("tcp:7438:interface=0.0.0.0", "127.0.0.1:7438"),
        ("tcp:7438:interface=10.0.0.5", "10.0.0.5:7438"),
        ("tcp:0", None),
        ("none", None),
        ("unix:/run/ap4r.sock", None),
    ],
)
def test_where_the_dispatcher_is_asked(listen, address):
    """Where it listens on a TCP port that is known; elsewhere it is not asked."""
    assert health_address(listen) == address


def test_without_a_secret_no_server_is_called():
    """It is only said that nothing is signed, which is no finding."""
    trust = look(Settings())
    assert trust == Trust(False, None, ())
    assert trust_findings(trust) == []
    assert "ap4r init" in trust_notes(trust)[0]


@pytest.mark.parametrize(("knows", "findings"), [(True, 0), (None, 0), (False, 2)])
def test_only_what_is_known_to_be_wrong_is_a_finding(knows, findings):
    """A server that could not be reached is listed as such, without an alarm."""
    trust = Trust(True, ("127.0.0.1:7438", knows), (("http://a", knows),))
    assert len(trust_findings(trust)) == findings
    assert len(trust_notes(trust)) == (1 if knows is False else 3)
