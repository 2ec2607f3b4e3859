"""guard: where absolute URLs may go, in every spelling of an address."""

from __future__ import annotations

import pytest

from ap4r.dispatcher.http_client.address_guard import AddressGuard, AddressRules, Own, literal_address

METADATA = "169.254.169.254"


def guard(*, local=(), listens=None, **rules):
    """Create a guard of lists."""
    own = Own(lambda address: address in local)
    if listens is not None:
        own.listen(*listens)
    return AddressGuard(own, AddressRules(**{name: tuple(value) for name, value in rules.items()}))


@pytest.mark.parametrize(
    "address",
    [
        *(
            METADATA,
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
        *("::", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1"),
        *("::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "::169.254.169.254", "64:ff9b::169.254.169.254"),
        *("64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "2001:db8::5efe:169.254.169.254"),
        *(
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:1a9:fe:a9fe::",
            "64:ff9b:1:1:a9:fea9:fe00:0",
            "::ffff:0:169.254.169.254",
        ),
        *("2001:0:4136:e378:8000:63bf:5601:5601", "::ffff:0.0.0.0"),
    ],
)
def test_refused_by_default(address):
    """Link-local, metadata, multicast and unassigned addresses, also where another address represents them."""
    assert guard().problem("name.example", [address], 80) is not None
    assert AddressGuard(Own(lambda _: False), None).problem("name.example", [address], 80) is None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "fd12::1",
        "1.1.1.1",
        "2606:4700::1",
        "64:ff9b::1.1.1.1",
        "64:ff9b:1:101:1:100::",
    ],
)
def test_allowed_by_default(address):
    """Neighbours and the world."""
    assert guard().problem("name.example", [address], 80) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2852039166", METADATA),
        ("0xa9fea9fe", METADATA),
        ("0xA9.0xfe.0xa9.0xfe", METADATA),
        ("0251.0376.0251.0376", METADATA),
        ("169.254.43518", METADATA),
        ("169.16689662", METADATA),
        ("169.254.169.254.", METADATA),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("[::ffff:169.254.169.254]", "::ffff:169.254.169.254"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("[FE80::1]", "fe80::1"),
        ("name.example", None),
        ("1.2.3.4.example", None),
        ("xn--bcher-kva.example", None),
    ],
)
def test_every_spelling_of_an_address(host, address):
    """Decimal, octal, hex, shortened, with a dot at its end: each is what it means."""
    found = literal_address(host)
    assert found == address or (found or "").replace("a9fe:a9fe", METADATA) == address


def test_one_refused_address_refuses_the_name():
    """A name that has a good address and a bad one has no business with us."""
    problem = guard().problem("two.example", ["1.1.1.1", METADATA], 80)
    assert problem is not None
    assert "two.example is 169.254.169.254" in problem


def test_denied_networks_and_hosts():
    """They are refused whatever is allowed, mapped addresses included."""
    one = guard(deny_networks=["10.0.0.0/8"], deny_hosts=["evil.example", "*.bad.example"], allow_hosts=["*.example"])
    assert one.problem("a.example", ["10.1.2.3"], 80)
    assert one.problem("a.example", ["::ffff:10.1.2.3"], 80)
    assert one.problem("EVIL.example.", ["1.1.1.1"], 80)
    assert one.problem("x.bad.example", ["1.1.1.1"], 80)
    assert one.problem("bad.example", ["1.1.1.1"], 80) is None


def test_an_allow_list_refuses_all_else():
    """A host that is listed, or an address in a listed network; nothing else."""
    one = guard(allow_hosts=["api.example"], allow_networks=["10.0.0.0/8"])
    assert one.problem("api.example", ["1.1.1.1"], 443) is None
    assert one.problem("other.example", ["10.0.0.1"], 443) is None
    assert one.problem("other.example", ["1.1.1.1"], 443)
    assert one.problem("other.example", ["10.0.0.1", "1.1.1.1"], 443)
    assert one.problem("api.example", [METADATA], 80), "a listed name that points to the metadata"


def test_the_metadata_must_be_asked_for_by_name():
    """Everything allowed is not the metadata allowed; the very network is."""
    assert guard(allow_networks=["0.0.0.0/0"]).problem("x", [METADATA], 80)
    assert guard(allow_networks=["169.254.169.254/32"]).problem("x", [METADATA], 80) is None


@pytest.mark.parametrize(
    ("listens", "address", "port", "refused"),
    [
        (("127.0.0.1", 7438), "127.0.0.1", 7438, True),
        (("127.0.0.1", 7438), "::ffff:127.0.0.1", 7438, True),
        (("127.0.0.1", 7438), "127.0.0.1", 7439, False),
        (("0.0.0.0", 7438), "127.0.0.9", 7438, True),
        (("0.0.0.0", 7438), "10.0.0.5", 7438, True),
        (("::", 7438), "::1", 7438, True),
        (("0.0.0.0", 7438), "10.0.0.6", 7438, False),
    ],
)
@pytest.mark.parametrize("rules", [None, AddressRules()])
def test_the_dispatchers_own_address_is_refused(listens, address, port, refused, rules):
    """Of absolute URLs and of upstreams, also where it listens on every address of this host."""
    own = Own(lambda text: text == "10.0.0.5")
    own.listen(*listens)
    assert (AddressGuard(own, rules).problem("x", [address], port) is not None) == refused
