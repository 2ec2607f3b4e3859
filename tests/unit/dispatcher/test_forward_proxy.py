"""Which proxy an absolute URL is called through."""

from __future__ import annotations

import base64

import pytest

from ap4r.dispatcher.http_client.address_guard import AddressGuard, AddressRules, Own
from ap4r.dispatcher.http_client.forward_proxy import ForwardProxy, find_forward_proxies
from ap4r.errors import ConfigError
from ap4r.settings.load import parse_settings

PROXY, OTHER = "http://proxy.example:3128", "http://other.example:3128"


def _chosen(url, environ=None, **given):
    proxies = find_forward_proxies(parse_settings({}, {}, given, "/"), environ or {})
    return None if proxies is None else proxies.choose(url)


def test_without_the_setting_the_variables_are_left_alone():
    """A variable that is set for other programs does not change where messages go."""
    assert _chosen("http://a.example/", {"http_proxy": PROXY, "ALL_PROXY": PROXY}) is None


@pytest.mark.parametrize("url", ["http://a.example/x", "https://a.example:8443/x"])
def test_a_named_proxy_is_for_both_schemes(url):
    """All absolute URLs go through it but those of no_proxy."""
    assert _chosen(url, proxy=PROXY) == ForwardProxy(PROXY)
    assert _chosen(url, proxy=PROXY, no_proxy=["*.example"]) is None
    assert _chosen(url, proxy=PROXY, no_proxy=["b.example"]) == ForwardProxy(PROXY)


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"http_proxy": PROXY}, PROXY, None),
        ({"https_proxy": PROXY}, None, PROXY),
        ({"HTTPS_PROXY": PROXY, "HTTP_PROXY": OTHER}, OTHER, PROXY),
        ({"http_proxy": PROXY, "HTTP_PROXY": OTHER}, PROXY, None),
        ({"all_proxy": "proxy.example:3128"}, PROXY, PROXY),
        ({"ALL_PROXY": PROXY, "http_proxy": OTHER}, OTHER, PROXY),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "a.example"}, None, None),
        ({"ALL_PROXY": PROXY, "no_proxy": ".example"}, None, None),
        ({"ALL_PROXY": PROXY, "no_proxy": "*"}, None, None),
        ({"ALL_PROXY": PROXY, "no_proxy": "b.example, a.example:443"}, PROXY, None),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None, None),
    ],
)
def test_the_variables_mean_what_they_mean_to_others(environ, http, https):
    """Lower case first, ALL_PROXY for what has none of its own, NO_PROXY by name, suffix, port or for everything."""
    found = [_chosen(f"{scheme}://a.example/x", environ, proxy="environment") for scheme in ("http", "https")]
    assert [proxy and proxy.url for proxy in found] == [http, https]


def test_credentials_of_a_variable_are_shown_to_the_proxy():
    """Escapes in them stand for characters."""
    proxy = _chosen("http://a.example/", {"http_proxy": "http://me:p%40ss@proxy.example:3128"}, proxy="environment")
    assert proxy == ForwardProxy(PROXY, b"Basic " + base64.b64encode(b"me:p@ss"))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("proxy", {"proxy": "socks5://a:1"}),
        ("proxy", {"proxy": "https://a:1"}),
        ("proxy", {"proxy": "http://a:1/x"}),
        ("proxy", {"proxy": "http://me:secret@a:1"}),
        ("proxy", {"proxy": 5}),
        ("no_proxy", {"no_proxy": ["a.example"]}),
    ],
)
def test_a_setting_that_means_nothing_is_refused(name, given):
    """The error names the setting, and never a password."""
    with pytest.raises(ConfigError) as refused:
        parse_settings({}, {}, given, "/")
    assert refused.value.setting == name
    assert "secret" not in str(refused.value)


def test_a_variable_with_another_kind_of_proxy_is_refused():
    """A SOCKS proxy is an error and not ignored: messages would bypass it."""
    with pytest.raises(ConfigError, match="http_proxy"):
        _chosen("http://a.example/", {"http_proxy": "socks5://a:1"}, proxy="environment")


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("good.example", False),
        ("other.example", True),
        ("bad.example", True),
        ("10.1.2.3", False),
        ("169.254.169.254", True),
        ("11.1.2.3", True),
    ],
)
def test_the_lists_hold_behind_a_proxy(host, refused):
    """Names and literal addresses are judged; a name that only its address would admit is refused."""
    guard = AddressGuard(Own(lambda _: False), AddressRules(("good.example",), ("bad.example",), ("10.0.0.0/8",), ()))
    assert (guard.problem_behind_proxy(host, 80) is not None) is refused
    assert AddressGuard(Own(lambda _: False), AddressRules()).problem_behind_proxy("other.example", 80) is None
