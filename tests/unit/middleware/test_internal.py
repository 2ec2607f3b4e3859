"""Which paths are internal, however a request spells them."""

from __future__ import annotations

import posixpath
import re
import unicodedata
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.errors import ConfigError
from ap4r.middleware.deliveries.internal_paths import InternalPaths

PATHS = InternalPaths(["/async/*", "/jobs/run", "/größe/*"])


@pytest.mark.parametrize(
    "path",
    [
        "/async/work",
        "/async/",
        "/async",
        "/async//work",
        "//async/work",
        "///async///work",
        "/async/work/",
        "/ASYNC/work",
        "/Async/Work",
        "/./async/work",
        "/public/../async/work",
        "/public/x/../../async/work",
        "/public//../async/work",
        "/async/../public",
        "/async/..",
        "/async/./work",
        "/../async/work",
        "/..;/async/work",
        "/public/..;x=1/async/work",
        "/async;v=1/work",
        "/async/work;jsessionid=1",
        "/;x/async/work",
        "\\async\\work",
        "/public\\..\\async\\work",
        "/%61sync/work",
        "/%2561sync/work",
        "/public/%2e%2e/async/work",
        "/public/%252e%252e/async/work",
        "/async%2fwork",
        "/async%5cwork",
        "/public/..%5casync",
        "http://shop.example.com/async/work",
        "HTTP://shop.example.com//async/work",
        "http://shop.example.com/public/../async/work",
        "//shop.example.com/async/work",
        "/ttp://shop.example.com/async/work",
        "/async/work\x00",
        "/asy\x00nc/work",
        "/async /work",
        "\t/async/work",
        "/async/work%0a",
        "/jobs/run",
        "/jobs/run/",
        "/JOBS//run",
        "/jobs/run;x",
        "/jobs/x/../run",
        "/gr\xc3\xb6\xc3\x9fe/x",
        "/GR\xc3\x96SSE/x",
        # CherryPy takes punctuation of a name for _.
        "/as-ync/work",
        "/jobs/r.u.n",
        "/jobs/run!",
        "/async./work",
        "/jobs/run.",
        "/jobs/run ",
        # Letters that compare as others do: dotless i and long s, Kelvin, full width, with marks.
        "/jobs/run.json",
        "/jobs/run/index",
        "/\xef\xbd\x81sync/work",
        "/a\xc5\xbfync/work",
        "/async\xe2\x80\x8b/work",
        "/\xe2\x80\xaeasync/work",
        "/async\xef\xbc\x8fwork",
        # Bytes that are no UTF-8, and codecs that ignore them.
        "/a\xffsync/work",
        "/\xff/async/work",
        "/asyn\x80c/work",
        "/a\xc3sync/work",
        "/async?x",
        "/async#x",
    ],
)
def test_every_spelling_of_an_internal_path_is_internal(path):
    """Escapes, dots, doubled slashes, parameters, case, backslashes, an absolute target: none opens the door."""
    assert PATHS.contains(path)


@pytest.mark.parametrize(
    "path",
    ["/", "", "/asynchronous/work", "/async-x", "/public/async", "/jobs", "/jobs/runner", "/jobs/run/x", "/x?/async/y"],
)
def test_other_paths_are_not(path):
    """What only resembles an internal path stays open."""
    assert not PATHS.contains(path)


@pytest.mark.parametrize(
    "path",
    ["/kissing_it", "/K\xc4\xb1SS\xc4\xb0NG-\xc4\xb1T", "/\xe2\x84\xaai\xc5\xbf\xc5\xbfing.it", "/ki\xc3\x9fing_it"],
)
def test_letters_that_compare_alike_are_alike(path):
    """Dotless i, dotted I, long s and the sign of Kelvin match under `(?i)`; ß is ss without case."""
    assert InternalPaths(["/kissing_it"]).contains(path)


@pytest.mark.parametrize(
    "path",
    [
        "/a\xffb",
        "/\xc3(",
        "/\xc0\xaf",
        "/\xed\xa0\x80",
        "/\u20ac",
        "/a\x00b",
        "/a\tb",
        "/a\x7fb",
        "/\xc2\x85",
        "/a\\b",
        "/a%5cb",
        "/\xef\xbc\xbcb",
        "/a/../b",
        "/a/..;x/b",
        "/a/%2e./b",
        "/a/. /b",
        "/%00",
        "/%ff",
        "/%2525252561",
        "/" + "x" * 8_192,
    ],
)
@pytest.mark.parametrize("script_name", ["", "/shop"])
def test_a_path_that_can_be_read_in_two_ways_is_a_problem(path, script_name):
    """Bytes that are no UTF-8, control characters, backslashes, dots, escapes of escapes: each kind by itself."""
    assert PATHS.read(path, script_name).problem


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/k\xc3\xa4se",
        "/a b",
        "/a//b",
        "/a;b=1",
        "/a..b",
        "/.well-known/x",
        "/100%",
        "/a%2fb",
        "/x%2520y",
        "/~me",
    ],
)
def test_what_browsers_send_every_day_is_none(path):
    """Umlauts, blanks, doubled slashes, parameters and single escapes are no reason to turn a visitor away."""
    assert PATHS.read(path) == (False, "")


_READERS = {
    "ignores what is no UTF-8": lambda path: path.encode("latin-1").decode("utf-8", "ignore"),
    "ignores what is no ASCII": lambda path: path.encode("latin-1").decode("ascii", "ignore"),
    "decodes once more": lambda path: urllib.parse.unquote(path.encode("latin-1").decode("utf-8", "replace")),
    "normalises": lambda path: unicodedata.normalize("NFKC", path.encode("latin-1").decode("utf-8", "replace")),
    "takes punctuation for _": lambda path: path.translate(str.maketrans(dict.fromkeys(".!-~*'", "_"))),
    "stops at a NUL": lambda path: path.partition("\0")[0],
    "cuts parameters": lambda path: re.sub(";[^/]*", "", path),
    "resolves dots": lambda path: posixpath.normpath(path),
    "turns backslashes": lambda path: path.replace("\\", "/"),
    "strips blanks": lambda path: "/".join(part.strip() for part in path.split("/")),
}
_ODD = st.one_of(
    st.sampled_from(
        ["", "%", "%2f", "%5c", "/", "//", "/./", "/x/../", ";x", "\\", "-", ".", "%25", "%ff", " ", "\t", "\0"]
    ),
    st.sampled_from(["\xff", "\xc0\xaf", "\xc3", "\xc4\xb1", "\xc4\xb0", "\xc5\xbf", "\xe2\x84\xaa", "\xe2\x80\x8b"]),
)
_LETTER = {
    "i": ["\xc4\xb1", "\xc4\xb0", "I"],
    "s": ["\xc5\xbf", "S", "%73"],
    "k": ["\xe2\x84\xaa", "K"],
    "_": ["-", "."],
}


@given(st.data())
def test_no_reader_finds_an_internal_path_that_the_gate_lets_in(data):
    """Whatever a framework that reads paths in one of these ways takes for the path, the gate has refused."""
    path = "".join(
        data.draw(_ODD) + data.draw(st.sampled_from([letter, letter, letter, *_LETTER.get(letter, [])]))
        for letter in "/jobs/kiss_it"
    ) + data.draw(_ODD)  # fmt: skip
    reading = InternalPaths(["/jobs/kiss_it"]).read(path)
    if reading == (False, ""):
        for how, read in _READERS.items():
            assert not re.fullmatch("/+jobs/+kiss_it/*", read(path), re.IGNORECASE), how


def test_long_paths_are_not_remembered():
    """A stranger chooses paths: what is kept of them is bounded in bytes, not only in number."""
    paths = InternalPaths(["/async/*"])
    for number in range(100):
        paths.read(f"/{number}/" + "x" * 1_000)
    assert paths._remembered.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("script_name", "path_info"),
    [
        ("/x", "/async/work"),
        ("/pub", "async/work"),
        ("/x/y", "/async"),
        ("/async", "/work"),
        ("/async", ""),
        ("/evil/async", "/work"),
        ("/evil//async", "/work"),
        ("/jobs", "/run"),
        ("/a/b/c/jobs", "/run"),
        ("/jobs/x", "/../run"),
        ("/x" * 9, "/public"),
    ],
)
def test_no_script_name_hides_an_internal_path(script_name, path_info):
    """A client may choose SCRIPT_NAME: the path counts behind every part of it, and without it."""
    assert PATHS.contains(path_info, script_name)


@pytest.mark.parametrize(("script_name", "path_info"), [("/shop", "/public"), ("/x", ""), ("/a/b", "/jobs/runner")])
def test_a_mounted_application_stays_open(script_name, path_info):
    """What is internal under no reading of the two is not."""
    assert not PATHS.contains(path_info, script_name)


@pytest.mark.parametrize(
    "pattern", ["/async/run?x=1", "/async#x", "/a/../b", "/./a", "/a/%2e%2e/*", "/a/.", "/a\\b", "/a/./*"]
)
def test_a_pattern_that_no_request_matches_is_refused(pattern):
    """A query, a fragment, a backslash or dot segments would leave open what was meant."""
    with pytest.raises(ConfigError, match="can match no request"):
        InternalPaths([pattern])


@pytest.mark.parametrize("path", ["/", "", "*", "/anything", "http://x"])
def test_everything_may_be_internal(path):
    """`/*` is the whole application."""
    assert InternalPaths(["/*"]).contains(path)


def test_the_root_alone_may_be_internal():
    """`/` is the root and nothing below it."""
    root = InternalPaths(["/"])
    assert root.contains("/")
    assert root.contains("")
    assert root.contains("/.")
    assert not root.contains("/x")


@pytest.mark.parametrize("pattern", ["async/*", "", "/a*", "/*/b", "/a/*/b", "*", 7, None, "http://a/b"])
def test_a_pattern_that_means_nothing_is_refused(pattern):
    """A slip of the pen must not leave a path open: it stops the start."""
    with pytest.raises(ConfigError, match=r"internal: .*/async/\*"):
        InternalPaths([pattern])


def test_a_single_string_is_refused():
    """A string is a sequence of letters, of which `/` would be one."""
    with pytest.raises(ConfigError, match="list of paths"):
        InternalPaths("/async/*")


@given(st.text(st.characters(max_codepoint=255)))
def test_no_path_is_too_odd(path):
    """Any path that a server may hand over is read, without an error, and below an internal one it is internal."""
    PATHS.contains(path)
    assert PATHS.contains("/async/" + path)
