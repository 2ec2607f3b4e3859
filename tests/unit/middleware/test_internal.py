"""Which paths are internal, however a request spells them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r.errors import ConfigError
from ap4r.middleware.internal import InternalPaths

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
    with pytest.raises(ConfigError, match="would match no request"):
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
