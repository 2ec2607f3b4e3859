"""Targets: what may be called, its one canonical form, and the queue that follows from it."""

from __future__ import annotations

import enum
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.errors import OptionRefused, TargetRefused
from ap4r.message.queue_name import MAX_QUEUE_BYTES, check_queue_name
from ap4r.message.target import MAX_URL_BYTES, Target, parse_target

CANONICAL = [
    # A path stays a path on the application itself.
    ("/search/reindex", "app:/search/reindex"),
    ("/", "app:/"),
    ("/a?x=1", "app:/a?x=1"),
    ("/a?", "app:/a"),
    ("/a?x=1#fragment?y", "app:/a?x=1"),
    ("/a//b/", "app:/a//b/"),
    ("/a/..b/c..", "app:/a/..b/c.."),
    ("/ä?ö=ü", "app:/%C3%A4?%C3%B6=%C3%BC"),
    ("/a%2fb%C3%A4", "app:/a%2fb%C3%A4"),
    ('/a"<>^`{|}[]', "app:/a%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
    ("/a?b[]=1&c=[2]&d=../e", "app:/a?b%5B%5D=1&c=%5B2%5D&d=../e"),
    ("/a?http://h/", "app:/a?http://h/"),
    ("/@me:80/x;y=1", "app:/@me:80/x;y=1"),
    # Another upstream's, by its name.
    ("app:/x", "app:/x"),
    ("web:/a/ä?x=1#y", "web:/a/%C3%A4?x=1"),
    ("Blue-2.x_y:/", "Blue-2.x_y:/"),
    # A URL: scheme and host in small letters, no default port, always a path.
    ("http://localhost:8080/someServlet", "http://localhost:8080/someServlet"),
    ("HTTP://Example.COM", "http://example.com/"),
    ("http://host?x=1", "http://host/?x=1"),
    ("http://host#x", "http://host/"),
    ("http://host:80/", "http://host/"),
    ("http://host:/", "http://host/"),
    ("http://host:0443/", "http://host:443/"),
    ("https://host:443/a", "https://host/a"),
    ("https://host:80/a", "https://host:80/a"),
    ("http://a_b-c.d./", "http://a_b-c.d./"),
    ("http://127.0.0.1/", "http://127.0.0.1/"),
    ("http://[::1]:8080/x", "http://[::1]:8080/x"),
    ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"),
    ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
    # Names of other alphabets, as DNS knows them.
    ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
    ("http://日本語.jp:8080/", "http://xn--wgv71a119e.jp:8080/"),
    ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
    ("http://a。b/", "http://a.b/"),
    ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/"),
]


@pytest.mark.parametrize(("given_text", "text"), CANONICAL)
def test_what_may_be_called_has_one_canonical_form(given_text, text):
    """Each spelling becomes the same text, which is canonical itself and reads back as the same target."""
    target, queue = parse_target(given_text)
    assert str(target) == text
    assert Target.from_text(text) == target
    assert parse_target(target) == (target, queue)
    assert parse_target({"url": given_text}) == (target, queue)


REFUSED = [
    ("", "empty"),
    ("search/reindex", "begins with /"),
    ("?x=1", "begins with /"),
    ("localhost:8080/x", "begins with /"),
    ("ftp://host/x", "http:// or https://"),
    ("javascript:alert(1)", "http:// or https://"),
    ("file:///etc/passwd", "http:// or https://"),
    ("http:/host/x", "http:// or https://"),
    ("web://host/x", "http:// or https://"),
    ("web:x", "http:// or https://"),
    ("web:/../x", "segment"),
    ("http:host", "http:// or https://"),
    ("://host", "http:// or https://"),
    ("//host/x", "begins with one /"),
    ("///x", "begins with one /"),
    ("/\\host/x", "backslash"),
    ("\\\\host\\x", "backslash"),
    ("http://host\\@other/", "backslash"),
    (" /x", "space"),
    ("/x ", "space"),
    ("/a b", "space"),
    ("/a\tb", "space"),
    ("/a\r\nHost: other", "line break"),
    ("/a\x00", "control"),
    ("/a\x7f", "control"),
    ("http://ho\nst/", "line break"),
    ("/100%", "%25"),
    ("/%zz", "%25"),
    ("/%4", "%25"),
    ("/a\ud800", "UTF-8"),
    ("http://h\udcff/", "UTF-8"),
    ("/..", "segment"),
    ("/a/../internal", "segment"),
    ("/a/./b", "segment"),
    ("/a/%2e%2E/internal", "segment"),
    ("/a/.%2e", "segment"),
    ("http://host/../x", "segment"),
    ("http:///x", "no host"),
    ("http://?x", "no host"),
    ("http://:80/", "no host"),
    ("http://user@host/", "credentials"),
    ("http://user:secret@host/", "credentials"),
    ("http://@host/", "credentials"),
    ("http://:@host/", "credentials"),
    ("http://host:0/", "port 0"),
    ("http://host:65536/", "port"),
    ("http://host:-1/", "port"),
    ("http://host:+80/", "port"),
    ("http://host:http/", "port"),
    ("http://host:80:80/", "port"),
    ("http://host:٨٠/", "port"),
    ("http://::1/", "port"),
    ("http://[::1/", "URL"),
    ("http://]/", "URL"),
    ("http://[host]/", "URL"),
    ("http://[v1.x]/", "IPv6"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://[fe80::1%25]/", "zone"),
    ("http://a..b/", "host"),
    ("http://.a/", "host"),
    ("http://./", "host"),
    ("http://a,b/", "host"),
    ("http://a%2eb/", "host"),
    ("http://" + "a" * 64 + ".b/", "host"),
    ("http://" + "a." * 127 + "b/", "host"),
    ("http://" + "ä" * 254 + "/", "host"),
    ("http://" + "ä." * 100 + "/", "host"),
    ("http://ex℀mple/", "URL"),
    ("http://h\u2028st/", "host"),
    ("http://x\u200d/", "host"),
    # An address that each resolver reads in its own way.
    ("http://127.1/", "host"),
    ("http://2130706433/", "host"),
    ("http://0x7f000001/", "host"),
    ("http://0177.0.0.1/", "host"),
    ("http://127.0.0.1./", "host"),
    ("http://256.0.0.1/", "host"),
    ("http://\uff11\uff12\uff17.1/", "host"),
    ("/" + "a" * MAX_URL_BYTES, "8,192"),
    ("/" + "ä" * (MAX_URL_BYTES // 5), "8,192"),
    ("http://host/#" + "a" * MAX_URL_BYTES, "8,192"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=lambda value: ascii(value)[:40])
def test_what_cannot_be_called_is_refused_with_the_reason(text, why):
    """Bad input ends in the handler, with a text that says what is wrong and holds no password."""
    for given_as in (text, {"url": text}):
        with pytest.raises(TargetRefused) as refused:
            parse_target(given_as)
        assert why in refused.value.problem
        assert "secret" not in str(refused.value)
        assert len(str(refused.value)) < 600
        assert "\n" not in str(refused.value)


def test_the_longest_url_is_taken():
    """A URL of exactly the limit is within it."""
    assert len(parse_target("/" + "a" * (MAX_URL_BYTES - 1))[0].url) == MAX_URL_BYTES


class _Name(enum.StrEnum):
    URL = "url"
    PATH = "/search/reindex"


class _Mixed(str, enum.Enum):  # noqa: UP042 - the kind whose str() is not its value
    ACTION = "reindex"


@pytest.mark.parametrize(
    ("given_as", "text", "queue"),
    [
        ({"controller": "search", "action": "reindex"}, "app:/search/reindex", "queue.search.reindex"),
        ({"controller": "/search/", "action": "reindex"}, "app:/search/reindex", "queue.search.reindex"),
        ({"url": {"controller": "search", "action": "reindex"}}, "app:/search/reindex", "queue.search.reindex"),
        ({"controller": "search", "action": _Mixed.ACTION}, "app:/search/reindex", "queue.search.reindex"),
        ({_Name.URL: _Name.PATH}, "app:/search/reindex", "queue.search.reindex"),
        ({"url": Target("/search/reindex", "app")}, "app:/search/reindex", "queue.search.reindex"),
        ({"url": "http://localhost:8080/s"}, "http://localhost:8080/s", "queue.localhost.8080"),
        ({"controller": "Admin/Shop/V2", "action": "a-b.c"}, "app:/Admin/Shop/V2/a-b.c", "queue.admin.shop.v2.a-b.c"),
        ({"controller": "404", "action": "deadbeefcafe"}, "app:/404/deadbeefcafe", "queue.404.deadbeefcafe"),
    ],
    ids=repr,
)
def test_ap4r_spells_a_target_as_a_mapping(given_as, text, queue):
    """Controller and action, which name the queue as they are, or a url: as AP4R's callers wrote them."""
    target, name = parse_target(given_as)
    assert (str(target), name) == (text, queue)


@pytest.mark.parametrize(
    ("given_as", "why"),
    [
        ({}, "either 'url'"),
        ({"controller": "search"}, "either 'url'"),
        ({"action": "reindex"}, "either 'url'"),
        ({"url": "/x", "action": "y"}, "either 'url'"),
        ({"url": "/x", "host": "y", "port": 1}, "unknown keys host, port"),
        ({1: "/x", None: 2}, "unknown keys 1, None"),
        ({b"url": "/x"}, "unknown keys"),
        ({"url": None}, "must be a string"),
        ({"url": b"/x"}, "must be a string"),
        ({"url": {"url": "/x"}}, "must be a string"),
        ({"url": ["/x"]}, "must be a string"),
        ({"controller": 1, "action": "x"}, "names"),
        ({"controller": "", "action": "x"}, "names"),
        ({"controller": "/", "action": "x"}, "names"),
        ({"controller": "a//b", "action": "x"}, "names"),
        ({"controller": "a/../b", "action": "x"}, "names"),
        ({"controller": "a", "action": ".."}, "names"),
        ({"controller": "a", "action": "x?y=1"}, "names"),
        ({"controller": "a", "action": "x\n"}, "names"),
        ({"controller": "ä", "action": "x"}, "names"),
        ({"controller": "a", "action": "x" * 10_000}, "8,192"),
        (None, "give a path"),
        (b"/x", "give a path"),
        (12, "give a path"),
        (["/x"], "give a path"),
        (10**5_000, "give a path"),
    ],
    ids=lambda value: ascii(value)[:40] if not isinstance(value, int) else "int",
)
def test_other_shapes_are_refused_with_the_reason(given_as, why):
    """Whatever else is given as a target is refused, never an unexplained TypeError."""
    with pytest.raises(TargetRefused, match=re.escape(why)):
        parse_target(given_as)


@pytest.mark.parametrize(
    "target",
    [
        Target("/x\r\nEvil: 1", "app"),
        Target("//host/x", "app"),
        Target("javascript:alert(1)"),
        Target("http://user:secret@host/"),
        Target("/x"),
        Target("http://host/", "app"),
        Target("/x", "a:b"),
        Target("/x", ""),
        Target("/x", "http://h"),
        Target("/x", 1),
        Target(None),
        Target(b"/x", "app"),
    ],
    ids=repr,
)
def test_a_target_made_by_hand_is_checked_too(target):
    """A Target is no way round the rules."""
    with pytest.raises(TargetRefused) as refused:
        parse_target(target)
    assert "secret" not in str(refused.value)


def test_another_upstream_keeps_its_name():
    """A path may be on another upstream than the application; its name is the origin."""
    target, queue = parse_target(Target("/x?y#z", "billing"))
    assert (target, target.origin, queue) == (Target("/x?y", "billing"), "billing", "queue.x")
    assert Target.from_text("billing:/x?y") == target


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("/a/b?c", "app"),
        ("http://host?x=1", "http://host"),
        ("http://host:8080/a/b?c=http://other/", "http://host:8080"),
        ("https://host:443", "https://host"),
        ("http://[::1]:81/", "http://[::1]:81"),
    ],
)
def test_origin_is_the_server_side(text, origin):
    """Everything that one server would answer has one origin, whatever path and query."""
    assert parse_target(text)[0].origin == origin


def test_origin_of_a_url_without_a_path():
    """A target that was made by hand has the origin of its canonical form."""
    assert Target("http://host?x=1").origin == "http://host"


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("/search/reindex", "queue.search.reindex"),
        ("/search/reindex/", "queue.search.reindex"),
        ("/search?q=1", "queue.search"),
        ("/", "queue.root"),
        ("/?x", "queue.root"),
        ("/a/b/c/d/e", "queue.a.b.c"),
        ("/a//b", "queue.a.b"),
        ("/orders/12/mail", "queue.orders._.mail"),
        ("/orders/-12.50", "queue.orders._"),
        ("/v1/12a", "queue.v1.12a"),
        ("/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "queue.o._"),
        ("/o/3F2504E04F8911D39A0C0305E82C3301", "queue.o._"),
        ("/o/deadbeefcafe", "queue.o._"),
        ("/o/feedface", "queue.o.feedface"),
        ("/o/١٢", "queue.o._"),
        ("/Search/Re-Index_2.json", "queue.search.re-index_2.json"),
        ("/a%20b/c%2Fd", "queue.a_b.c_d"),
        ("/ä/日本", "queue._._"),
        ("/%ff", "queue._"),
        ("http://Localhost:8080/a/b", "queue.localhost.8080"),
        ("http://10.0.0.5/a", "queue.10.0.0.5"),
        ("http://[::1]/a", "queue._1"),
        ("http://0123456789ab/", "queue.0123456789ab"),
        ("http://bücher.example/", "queue.xn--bcher-kva.example"),
    ],
)
def test_the_queue_follows_from_the_target(text, queue):
    """At most three segments, numbers, UUIDs and long hex as _; an absolute URL has its host's queue."""
    assert parse_target(text)[1] == queue


def test_a_long_path_has_a_queue_name_within_the_limit():
    """A name that would be too long is cut, and is a valid name still."""
    queue = parse_target("/" + "x" * 500)[1]
    assert len(queue) == MAX_QUEUE_BYTES
    assert check_queue_name(queue) == queue


@pytest.mark.parametrize("name", ["queue.search.reindex", "a", "Ä b/€", "x" * 128, "é" * 64])
def test_a_chosen_queue_name_is_kept(name):
    """A caller may call a queue anything printable, up to 128 bytes."""
    assert check_queue_name(name) == name


def test_a_chosen_queue_name_becomes_plain_text():
    """A str Enum is kept as its value, not as the name that its own str() gives."""
    name = check_queue_name(_Mixed.ACTION)
    assert (name, type(name)) == ("reindex", str)


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a ", "a\n", "a\x00b", "a\u2028b", "a\u200bb", "\ud800", "x" * 129, "é" * 65, None, 1, b"a", ["a"]],
    ids=ascii,
)
def test_a_queue_name_that_means_nothing_is_refused(name):
    """Empty, unprintable, too long or no text: refused with the option's name."""
    with pytest.raises(OptionRefused) as refused:
        check_queue_name(name)
    assert refused.value.option == "queue"


URL_TEXT = st.text(st.sampled_from("abz019/%:@?#[]&=;.-_~\\ \t\r\nÄé日\ud800\uff05。"), max_size=40)
ANYTHING = st.one_of(
    st.text(max_size=60),
    URL_TEXT,
    URL_TEXT.map(lambda text: "/" + text),
    URL_TEXT.map(lambda text: "http://" + text),
    st.builds("http://{}/".format, st.text(max_size=20)),
)
RESOURCE = st.text(st.sampled_from("abz019/:@?&=;-_~[]{}|\"'Äé日\u2028😀"), max_size=40).map(
    lambda text: "/" + text.lstrip("/")
)
ORIGINS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https", "HTTP"]),
    st.from_regex(r"[a-z][a-zA-Z0-9_-]{0,20}(\.[a-z]{1,9}){0,3}\.?", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map("[{}]".format)
    | st.sampled_from(["bücher.example", "日本語.jp"]),
    st.just("") | st.integers(1, 65_535).map(":{}".format),
)
CALLABLE = st.one_of(RESOURCE, st.builds("{}{}".format, ORIGINS, RESOURCE), ORIGINS)


def _assert_sound(target, queue):
    # What is stored as text is read back as the same target, and parsing it again changes nothing.
    assert Target.from_text(str(target)) == target
    # A path by itself is the application's; one on another upstream needs that name too.
    written = target.url if target.upstream in (None, "app") else str(target)
    assert parse_target(target) == parse_target(written) == (target, queue)
    # Nothing that a header, a log line or another parser could take for something else.
    assert re.fullmatch(r"[!-~]+", target.url)
    assert not set('\\#<>"{}|^`') & set(target.url)
    assert "@" not in target.origin
    assert not {".", ".."} & set(target.url.partition("?")[0].split("/")[1:])
    assert re.fullmatch(r"queue\.[a-z0-9._-]+", queue)
    assert len(queue) <= MAX_QUEUE_BYTES
    assert check_queue_name(queue) == queue


@given(ANYTHING)
def test_any_text_is_taken_or_refused(text):
    """No text ends in another error than TargetRefused with a printable text; what is taken is sound."""
    try:
        target, queue = parse_target(text)
    except TargetRefused as refused:
        assert str(refused).isprintable()
    else:
        _assert_sound(target, queue)


@given(CALLABLE)
def test_what_can_be_called_is_taken_and_round_trips(text):
    """A well-formed path or URL is taken; str and from_text are inverse, and the canonical form is its own."""
    _assert_sound(*parse_target(text))


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=6))
def test_the_queue_of_any_path_is_short_and_plain(segments):
    """Whatever a path holds, its queue has at most three parts of plain letters."""
    segments = [segment for segment in segments if segment not in (".", "..")]
    queue = parse_target("/" + "/".join(quote(segment, safe="") for segment in segments if segment))[1]
    assert re.fullmatch(r"queue\.[a-z0-9._-]+", queue)
    plain = [segment for segment in segments if segment][:3]
    if all(re.fullmatch(r"[a-z]{1,8}", segment) for segment in plain) and plain:
        assert queue == ".".join(["queue", *plain])


def test_two_ports_of_a_host_have_two_queues():
    """The port stays in the name however long the host is; the usual port of a scheme is none of its own."""
    host = ".".join(["a" * 60] * 4)
    assert parse_target(f"http://{host}:8080/")[1] != parse_target(f"http://{host}:8081/")[1]
    assert len(parse_target(f"http://{host}:8080/")[1]) == MAX_QUEUE_BYTES
    assert parse_target("http://localhost:80/x")[1] == parse_target("http://localhost/x")[1] == "queue.localhost"
    assert parse_target("https://localhost:443/x")[1] == "queue.localhost"
