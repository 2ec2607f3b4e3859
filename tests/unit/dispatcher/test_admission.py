"""Who may put messages through the intake."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.http_server.admission import Listening, Rates, RequestAdmission, parse_listen
from ap4r.errors import ConfigError
from ap4r.message.target import parse_target

LOOPBACK = Listening("127.0.0.1")
TOKEN = "a-token-of-sixteen-characters"


def refused(admission, host="127.0.0.1:7438", origin=None, authorization=None):
    """Return the status of a refusal, 0 for none."""
    refusal = admission.refuse(host, origin, authorization)
    return 0 if refusal is None else refusal.status


@pytest.mark.parametrize(
    ("listen", "private"),
    [
        ("tcp:7438:interface=127.0.0.1", True),
        ("tcp:7438:interface=127.8.8.8", True),
        (r"tcp6:7438:interface=\:\:1", True),
        ("tcp:7438:interface=localhost", True),
        ("tcp:port=7438:interface=127.0.0.1", True),
        ("unix:/run/ap4r/intake.sock", True),
        ("unix:address=/run/ap4r/intake.sock:mode=660", True),
        ("tcp:7438", False),
        ("tcp:7438:interface=0.0.0.0", False),
        ("tcp:7438:interface=", False),
        (r"tcp6:7438:interface=\:\:", False),
        ("tcp:7438:interface=10.0.0.5", False),
        ("tcp:7438:interface=intranet.example", False),
        ("ssl:443:interface=10.0.0.5", False),
    ],
)
def test_a_token_is_needed_where_others_can_come(listen, private):
    """On loopback and a UNIX socket none is needed; everywhere else the start is refused, naming the setting."""
    assert parse_listen(listen).is_private is private
    if private:
        RequestAdmission(parse_listen(listen), (), ())
    else:
        with pytest.raises(ConfigError, match="intake_token"):
            RequestAdmission(parse_listen(listen), (), ())
        RequestAdmission(parse_listen(listen), (TOKEN,), ())


class TestHost:
    @pytest.mark.parametrize("host", ["127.0.0.1:7438", "localhost", "LOCALHOST:1", "[::1]:7438", "[::1]"])
    def test_this_host_is_called_by_its_own_names(self, host):
        """The names of loopback are good with any port."""
        assert refused(RequestAdmission(LOOPBACK, (), ()), host) == 0

    @pytest.mark.parametrize("host", ["", "evil.example", "evil.example:7438", "127.0.0.1.evil.example"])
    def test_another_name_is_refused(self, host):
        """A web page that has tricked a browser into our address comes under its own name."""
        assert refused(RequestAdmission(LOOPBACK, (), ()), host) == 403

    def test_names_can_be_added(self):
        """`intake_hosts` are good with any port, or with the one they have."""
        admission = RequestAdmission(LOOPBACK, (), ("jobs.example.com", "other:99"))
        assert [refused(admission, host) for host in ("jobs.example.com", "JOBS.example.com:80", "other:99")] == [
            0,
            0,
            0,
        ]
        assert refused(admission, "other:98") == 403

    def test_the_interface_is_a_name(self):
        """The address that is listened on is one of ours."""
        assert refused(RequestAdmission(Listening("10.0.0.5"), (TOKEN,), ()), "10.0.0.5:7438") == 401


def test_no_web_page_may_come():
    """A request with Origin is a browser's, and a page has no business here."""
    assert refused(RequestAdmission(LOOPBACK, (), ()), origin="http://localhost:3000") == 403
    assert refused(RequestAdmission(LOOPBACK, (), ()), origin="null") == 403


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 0),
        (f"bearer  {TOKEN} ", 0),
        ("Bearer the-second-of-the-two-tokens", 0),
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer ÿÿ", 401),
    ],
)
def test_one_of_the_tokens_must_be_shown(authorization, status):
    """Any token of the setting is good, and nothing else is."""
    admission = RequestAdmission(LOOPBACK, (TOKEN, "the-second-of-the-two-tokens"), ())
    assert refused(admission, authorization=authorization) == status


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:7438/messages", True),
        ("http://localhost:7438/x", True),
        ("http://a.localhost:7438/x", True),
        ("http://127.9.9.9:7438/x", True),
        ("http://0.0.0.0:7438/x", True),
        ("http://[::1]:7438/x", True),
        ("http://[::ffff:127.0.0.1]:7438/x", True),
        ("http://jobs.example.com:7438/x", True),
        ("http://jobs.example.com/x", False),
        ("http://127.0.0.1:7439/x", False),
        ("http://127.0.0.1/x", False),
        ("http://10.0.0.9:7438/x", False),
        ("/messages", False),
    ],
)
def test_the_dispatcher_knows_itself(url, own):
    """Its own address under every name, with its own port."""
    admission = RequestAdmission(LOOPBACK, (), ("jobs.example.com",))
    assert admission.is_self(parse_target(url)[0], 7438) is own


class TestCallers:
    def test_a_token_is_one_caller_however_it_is_written(self):
        """Case, blanks and addresses change nothing; a wrong one is the address's."""
        admission = RequestAdmission(LOOPBACK, (TOKEN,), ())
        spellings = [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", f"BEARER {TOKEN}"]
        assert {admission.caller_of(one, peer) for one in spellings for peer in ("10.0.0.1", "10.0.0.2")} == {"token 0"}
        assert admission.caller_of("Bearer x", "10.0.0.1") == "10.0.0.1"

    def test_without_tokens_a_header_makes_no_caller(self):
        """Whatever stands in Authorization, it is the address that counts; of IPv6 the network of 64 bits."""
        admission = RequestAdmission(LOOPBACK, (), ())
        assert {admission.caller_of(f"Bearer {number}", "127.0.0.1") for number in range(9)} == {"127.0.0.1"}
        assert admission.caller_of(None, "2001:db8::1") == admission.caller_of(None, "2001:db8::ffff")
        assert admission.caller_of(None, "::ffff:10.0.0.1") == "10.0.0.1"
        assert admission.caller_of(None, "fe80::1%eth0") == "fe80::/64"

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:7438", "127.0.0.1.nip.io"])
    def test_a_page_under_its_own_name_may_not_even_look(self, host):
        """A name that leads here is a page's trick; an address, or none, is a load balancer's way."""
        admission = RequestAdmission(LOOPBACK, (), ())
        assert admission.refuse_look(host, None).status == 403
        for own in ("localhost", "10.0.0.5:7438", "[2001:db8::1]:7438", None, ""):
            assert admission.refuse_look(own, None) is None
        assert admission.refuse_look("localhost", "http://evil.example").status == 403

    def test_who_sees_all(self):
        """A caller who shows a token, or who calls from this host by one of its names and not through a proxy."""
        admission = RequestAdmission(Listening(), (TOKEN,), ())
        assert admission.sees_all("10.0.0.5", f"Bearer {TOKEN}", "10.0.0.9", is_forwarded=True)
        assert admission.sees_all("localhost", None, None, is_forwarded=False)
        assert admission.sees_all("localhost:7438", None, "127.0.0.1", is_forwarded=False)
        assert not admission.sees_all("localhost", None, "127.0.0.1", is_forwarded=True)
        assert not admission.sees_all("localhost", "Bearer x", "10.0.0.9", is_forwarded=False)
        assert not admission.sees_all("10.0.0.5", None, "127.0.0.1", is_forwarded=False)


class TestRates:
    def test_a_second_of_messages_may_come_at_once(self):
        """Messages within the rate are accepted; the refusal of the next one says when to retry."""
        rates = Rates(10)
        assert rates.refuse("a", 10, 0.0) is None
        refusal = rates.refuse("a", 1, 0.0)
        assert (refusal.status, refusal.headers["Retry-After"]) == (429, "1")
        assert rates.refuse("a", 1, 0.1) is None

    def test_callers_have_a_rate_each(self):
        """One caller's haste is not another's."""
        rates = Rates(1)
        assert rates.refuse("a", 1, 0.0) is None
        assert rates.refuse("b", 1, 0.0) is None
        assert rates.refuse("a", 1, 0.0) is not None

    def test_a_batch_beyond_the_rate_is_paid_off(self):
        """A batch of more than a second's worth comes in, and then nothing for as long as it is worth."""
        rates = Rates(10)
        assert rates.refuse("a", 100, 0.0) is None
        assert rates.refuse("a", 1, 8.0) is not None
        assert rates.refuse("a", 1, 9.2) is None

    def test_a_rate_under_one_lets_one_message_in(self):
        """A slow rate is slow, not closed."""
        rates = Rates(0.5)
        assert rates.refuse("a", 1, 0.0) is None
        assert rates.refuse("a", 1, 1.0).headers["Retry-After"] == "1"
        assert rates.refuse("a", 1, 2.0) is None
