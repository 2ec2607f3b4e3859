"""Who shares a secret with whom: the tables of ap4r.toml, and secrets that never show themselves."""

from __future__ import annotations

import base64
import pickle
import traceback

import pytest

from ap4r.describe.describe import describe_message
from ap4r.errors import ConfigError, TargetRefused
from ap4r.message.target import parse_target
from ap4r.redaction import shortened
from ap4r.settings.load import load_settings, parse_settings
from ap4r.settings.settings import Settings
from ap4r.settings.upstreams import HostSettings, secrets_of
from ap4r.signing.signing import Secret


def _text(number: int, size: int = 24) -> str:
    return "whsec_" + base64.b64encode(bytes([number]) * size).decode()


ONE, TWO, THREE = (_text(number) for number in (1, 2, 3))


def _secrets(*texts: str) -> tuple[Secret, ...]:
    return tuple(Secret.from_text(text) for text in texts)


WEB = {"web": {"servers": ["http://10.0.0.7:8000"]}}


def _parse(table, environ=None, overrides=None, read_secret=None):
    more = () if read_secret is None else (read_secret,)
    return parse_settings(table, environ or {}, overrides or {}, "/srv/shop", *more)


def test_the_table_of_app_and_the_short_spelling_are_one():
    """`[upstreams.app]` with servers and secrets gives the very settings that app_urls and secrets give."""
    long = _parse({"upstreams": {"app": {"servers": ["http://a:1/"], "secrets": [ONE, TWO]}}})
    assert long == _parse({"app_urls": "http://a:1", "secrets": [ONE, TWO]})
    app = long.upstream("app")
    assert (app.servers, app.secrets) == (("http://a:1",), _secrets(ONE, TWO))


def test_host_and_scheme_stand_beside_the_short_spelling():
    """`[upstreams.app]` may say only what the short spelling cannot."""
    settings = _parse({"app_urls": "http://a:1", "upstreams": {"app": {"host": "Shop.Example.com", "scheme": "https"}}})
    app = settings.upstream("app")
    assert (app.host, app.scheme, app.servers) == ("shop.example.com", "https", ("http://a:1",))


@pytest.mark.parametrize(("short", "own"), [("app_urls", "servers"), ("secrets", "secrets")])
def test_one_place_of_a_file_says_it(short, own):
    """The same key twice in one file is refused, so it need not be known which one wins."""
    value = "http://a:1" if own == "servers" else [ONE]
    with pytest.raises(ConfigError, match="remove one"):
        _parse({short: value, "upstreams": {"app": {own: value}}})


def test_a_later_source_wins_over_the_table():
    """A variable, and an argument over it, replace what the table says."""
    table = {"upstreams": {"app": {"servers": ["http://a:1"], "secrets": [ONE], "host": "shop.example.com"}}}
    settings = _parse(table, {"AP4R_SECRETS": TWO, "AP4R_APP_URLS": "http://b:1"}, {"secrets": [THREE]})
    app = settings.upstream("app")
    assert (app.servers, app.secrets, app.host) == (("http://b:1",), _secrets(THREE), "shop.example.com")


def test_the_variable_takes_several_secrets_with_blanks_between():
    """AP4R_SECRETS is for the simple case, rotation included."""
    assert _parse({}, {"AP4R_SECRETS": f" {ONE}  {TWO}\n"}).secrets == _secrets(ONE, TWO)


def test_a_secret_given_twice_signs_once():
    """A secret that stands in two places of a list is one secret."""
    assert _parse({"secrets": [ONE, TWO, ONE]}).secrets == _secrets(ONE, TWO)


def test_a_secret_may_be_given_by_reference(tmp_path):
    """A variable or a file may hold it, one or several, so that ap4r.toml holds none."""
    (tmp_path / "held").write_text(f"{TWO}\n{THREE}\n")
    config = tmp_path / "ap4r.toml"
    config.write_text('secrets = ["env:SHOP_SECRET", "file:held"]')
    assert load_settings(config, {"SHOP_SECRET": ONE}).secrets == _secrets(ONE, TWO, THREE)
    absolute = load_settings(config, {"SHOP_SECRET": ONE, "AP4R_SECRETS": f"file:{tmp_path}/held"})
    assert absolute.secrets == _secrets(TWO, THREE)


@pytest.mark.parametrize("reference", ["env:NOT_THERE", "file:not-there", "file:", "env:", "file:/", "env:EMPTY"])
def test_a_reference_to_nothing_is_refused(reference, tmp_path):
    """A missing variable or file stops the start, and the error names it."""
    with pytest.raises(ConfigError, match=r"secrets: in the arguments: secret 1 of 1"):
        load_settings(None, {"EMPTY": " "}, secrets=[reference], store=f"sqlite:///{tmp_path}/a.db")


@pytest.mark.parametrize(
    "bad",
    [
        ONE.removeprefix("whsec_"),
        "WHSEC_" + ONE.removeprefix("whsec_"),
        "whsec_",
        "whsec_***" + ONE,
        "whsec_" + "A" * 31,
        _text(9, 23),
        _text(9, 65),
        " " + ONE,
        ONE + " ",
        "hunter2hunter2hunter2hunter2hunter2",
    ],
)
@pytest.mark.parametrize("place", ["flat", "variable", "app", "hosts", "senders", "reference"])
def test_a_bad_secret_is_refused_and_not_shown(bad, place):
    """What is no secret of Standard Webhooks stops the start; neither error nor traceback quotes it."""
    given = [ONE, bad]
    calls = {
        "flat": lambda: _parse({"secrets": given}),
        "variable": lambda: _parse({}, {"AP4R_SECRETS": bad.strip() if bad.strip() != ONE else "x" + ONE}),
        "app": lambda: _parse({"upstreams": {"app": {"secrets": given}}}),
        "hosts": lambda: _parse({"hosts": {"a.example": {"secrets": given}}}),
        "senders": lambda: _parse({"senders": {"a": {"secrets": given}}}),
        "reference": lambda: _parse({"secrets": ["env:A"]}, read_secret=lambda _: "y" + bad.replace(" ", "_")),
    }
    with pytest.raises(ConfigError) as refused:
        calls[place]()
    told = "".join(traceback.format_exception(refused.value, chain=True))
    core = bad.strip().removeprefix("whsec_")
    assert len(core) < 5 or core not in told
    assert "secret" in refused.value.problem


@pytest.mark.parametrize("size", [24, 32, 64])
def test_sizes_that_standard_webhooks_allows_are_taken(size):
    """24 to 64 bytes."""
    assert len(_parse({"secrets": [_text(7, size)]}).secrets) == 1


def test_a_secret_never_shows_itself():
    """repr, str, format and the settings that hold it tell nothing; a fingerprint tells it from others."""
    settings = _parse(
        {"secrets": [ONE], "hosts": {"a.example": {"secrets": [TWO]}}, "senders": {"b": {"secrets": TWO}}}
    )
    shown = f"{settings!r} {settings} {settings.secrets[0]:} {settings.upstreams!r}"
    for text in (ONE, TWO):
        assert text.removeprefix("whsec_") not in shown
        assert repr(base64.b64decode(text.removeprefix("whsec_")))[2:-1] not in shown
    first, second = (Secret.from_text(text).fingerprint for text in (ONE, TWO))
    assert first != second
    assert ONE not in shortened({"secret": ONE})
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("key", "url", "signed"),
    [
        ("api.example.com", "https://api.example.com/x", True),
        ("api.example.com", "http://api.example.com:8080/x", True),
        ("API.example.com", "https://api.example.com/x", True),
        ("api.example.com:8443", "https://api.example.com:8443/x", True),
        ("api.example.com:8443", "https://api.example.com/x", False),
        ("api.example.com:443", "https://api.example.com/x", True),
        ("api.example.com:443", "http://api.example.com/x", False),
        ("api.example.com:80", "http://api.example.com/x", True),
        ("api.example.com", "https://api.example.com.evil.example/x", False),
        ("api.example.com", "https://xapi.example.com/x", False),
        ("127.0.0.1", "http://127.0.0.1:9/x", True),
        ("[::1]:9", "http://[::1]:9/x", True),
        ("bücher.example", "http://xn--bcher-kva.example/x", True),
    ],
)
def test_a_host_has_its_own_secrets(key, url, signed):
    """A host with a port means that port, one without every port; nothing else gets the signature."""
    hosts = _parse({"hosts": {key: {"secrets": [ONE]}}}).hosts
    assert secrets_of(url, hosts) == (_secrets(ONE) if signed else ())


def test_the_table_with_the_port_goes_first():
    """Of two tables for a host the one with the very port counts, in whatever order they stand."""
    for tables in ({"a.example": [ONE], "a.example:81": [TWO]}, {"a.example:81": [TWO], "a.example": [ONE]}):
        hosts = _parse({"hosts": {key: {"secrets": of} for key, of in tables.items()}}).hosts
        assert secrets_of("http://a.example:81/", hosts) == _secrets(TWO)
        assert secrets_of("http://a.example/", hosts) == _secrets(ONE)


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ({"upstreams": 1}, "table of tables"),
        ({"upstreams": {"app": 1}}, "not a table"),
        ({"upstreams": {"search": {"host": "a"}}}, "without servers"),
        ({"upstreams": {"https": {"servers": "http://a"}}}, "not http, https"),
        ({"upstreams": {"Web": {"servers": "http://a"}}}, "a-z"),
        ({"upstreams": {"web": {"servers": [{"url": "http://a", "weight": 0}]}}}, "weight"),
        ({"upstreams": {"web": {"servers": [{"url": "http://a", "weight": float("nan")}]}}}, "weight"),
        ({"upstreams": {"web": {"servers": [{"url": "http://a", "wait": 1}]}}}, "known are url, weight"),
        ({"upstreams": {"web": {"servers": ["http://a", "http://a/"]}}}, "twice"),
        ({"upstreams": {"web": {"servers": "http://a", "balance": "fair"}}}, "least_outstanding, round_robin"),
        ({"upstreams": {"web": {"servers": "http://a", "check": "healthz"}}}, "check"),
        ({"upstreams": {"web": {"servers": "http://a", "check": "http://b/"}}}, "check must be a path"),
        ({"upstreams": {"web": {"servers": "http://a", "check_seconds": 0}}}, "check_seconds"),
        ({"upstreams": {"web": {"servers": "http://a", "check_seconds": 5}}}, "check_seconds without a check"),
        ({"upstreams": {"web": {"servers": "http://a", "certificate": "a.pem"}}}, "belong together"),
        ({"upstreams": {"web": {"servers": ["http://a", "unix:/run/a"], "ca": "a.pem"}}}, "ca is for https"),
        ({"upstreams": {"web": {"servers": "http://a", "server_name": "b"}}}, "server_name is for https"),
        ({"upstreams": {"web": {"servers": "http://a", "certificate": "a", "key": "b"}}}, "certificate is for https"),
        ({"upstreams": {"app": {"servers": "http://a", "ca": "a.pem"}}}, "ca is for https"),
        ({"upstreams": {"app": {"ca": "a.pem"}}}, "ca is for https"),
        ({"upstreams": {"web": {"servers": "http://a", "proxy": "https://p:3128"}}}, "http://host:port"),
        ({"upstreams": {"web": {"servers": "unix:/run/a", "proxy": "http://p:3128"}}}, "UNIX socket"),
        ({"upstreams": {"web": {"servers": "http://a", "proxy": "http://p:3128", "guarded": True}}}, "with a proxy"),
        ({"upstreams": {"web": {"servers": "http://a", "proxy_auth": "basic:env:P"}}}, "without a proxy"),
        ({"upstreams": {"web": {"servers": "http://a", "guarded": "yes"}}}, "neither true nor false"),
        ({"upstreams": {"app": {"hosts": "a"}}}, "known are servers, balance, host"),
        ({"upstreams": {"app": {"host": "http://a"}}}, "not of the form"),
        ({"upstreams": {"app": {"host": "a/b"}}}, "not of the form"),
        ({"upstreams": {"app": {"host": ""}}}, "not of the form"),
        ({"upstreams": {"app": {"host": 7}}}, "not of the form"),
        ({"upstreams": {"app": {"host": "a\r\nX: y"}}}, "not of the form"),
        ({"upstreams": {"app": {"host": "a:99999"}}}, "port"),
        ({"upstreams": {"app": {"scheme": "ftp"}}}, "http, https"),
        ({"upstreams": {"app": {"scheme": ["https"]}}}, "not a text"),
        ({"upstreams": {"app": {"servers": ["ftp://a"]}}}, "not of the form"),
        ({"upstreams": {"app": {"servers": 7}}}, "list of URLs"),
        ({"hosts": {"a b": {"secrets": []}}}, "not of the form"),
        ({"hosts": {"a": {"secret": []}}}, "known are secrets"),
        ({"hosts": {"a": {"secrets": {"a": "b"}}}}, "list of strings"),
        ({"senders": {"Stripe Inc": {"secrets": [ONE]}}}, "a-z"),
        ({"senders": {"ap4r": {"secrets": [ONE]}}}, "not ap4r"),
        ({"senders": {"stripe": {"secrets": []}}}, "without secrets"),
        ({"senders": {"stripe": {}}}, "without secrets"),
    ],
)
def test_a_table_that_means_nothing_is_refused(table, hint):
    """A slip of the pen in a table stops the start and says what to write."""
    with pytest.raises(ConfigError) as refused:
        _parse(table)
    assert hint in str(refused.value)
    assert refused.value.setting.startswith(next(iter(table)))


def test_what_is_for_https_serves_where_one_server_speaks_it():
    """Of several servers one is enough; app's own may be replaced for once, and may be said elsewhere."""
    mixed = {"web": {"servers": ["http://a", "https://b"], "ca": "a.pem"}}
    assert _parse({"upstreams": mixed}).upstream("web").ca == "/srv/shop/a.pem"
    own = {"upstreams": {"app": {"servers": "https://a", "ca": "a.pem"}}}
    assert _parse(own, {}, {"app_urls": "http://127.0.0.1:8000"}).app_urls == ("http://127.0.0.1:8000",)
    short = {"app_urls": "http://a", "upstreams": {"app": {"ca": "a.pem"}}}
    assert _parse(short, {"AP4R_APP_URLS": "https://a"}).upstream("app").ca == "/srv/shop/a.pem"
    with pytest.raises(ConfigError, match=r"upstreams\.app: ca is for https"):
        _parse(short)


def test_senders_may_be_given_short_as_an_argument():
    """`AP4RMiddleware(app, senders={"stripe": ["whsec_…"]})` says what the table says."""
    long = _parse({"senders": {"stripe": {"secrets": [ONE]}}})
    assert _parse({}, {}, {"senders": {"stripe": [ONE]}}).senders == long.senders
    assert _parse({}, {}, {"senders": {"stripe": ONE}}).senders == long.senders


def test_variables_near_the_name_of_a_table_are_left_alone():
    """AP4R_HOST and similar variables belong to other programs: they hold no table."""
    assert _parse({}, {"AP4R_HOST": "y", "AP4R_SENDER": "", "AP4R_UPSTREAM_PORT": "1"}) == _parse({})


def test_settings_made_by_hand_have_the_upstream_too():
    """The upstream `app` is there however the settings came to be, and follows a change of the short spelling."""
    assert Settings(app_urls=("http://a:1",)).upstream("app").servers == ("http://a:1",)
    assert Settings().upstream("search").servers == ()
    assert (
        HostSettings(host="a", port=None, secrets=())
        in Settings(hosts=(HostSettings(host="a", port=None, secrets=()),)).hosts
    )


def test_other_upstreams_are_not_the_application():
    """Their servers, weights and secrets are their own; the application keeps what it has."""
    web = {"servers": ["http://b:2", {"url": "HTTP://C:3/base/", "weight": 2}, "unix:/run/app.sock"], "secrets": [ONE]}
    settings = _parse({"app_urls": "http://a:1", "upstreams": {"web": web}})
    assert (settings.app_urls, settings.secrets) == (("http://a:1",), ())
    one = settings.upstream("web")
    assert one.servers == ("http://b:2", "http://c:3/base", "unix:/run/app.sock")
    assert dict(one.weights) == {"http://c:3/base": 2.0}
    assert (one.balance, one.secrets) == ("least_outstanding", _secrets(ONE))


def test_files_count_from_the_folder_of_the_settings():
    """In every working folder of the dispatcher."""
    web = {"servers": "https://a", "ca": "ca.pem", "certificate": "/etc/own.pem", "key": "../own.key"}
    one = _parse({"upstreams": {"web": web}}).upstream("web")
    assert (one.ca, one.certificate, one.key) == ("/srv/shop/ca.pem", "/etc/own.pem", "/srv/own.key")


@pytest.mark.parametrize(
    "auth", ["basic:user:pass-word", "bearer:pass-word", "pass-word", "digest:env:X", "basic:env:"]
)
def test_credentials_are_given_by_reference_only(auth):
    """What may be the secret itself is refused, and not repeated."""
    with pytest.raises(ConfigError, match="reference") as refused:
        _parse({"upstreams": {"web": {"servers": "https://a", "auth": auth}}})
    assert "pass-word" not in str(refused.value)


def test_a_credential_is_read_where_it_is_needed():
    """A process that only writes messages does without it; it never shows itself."""
    texts = {"env:B": "me:pass-word\n", "env:T": "tok-en", "env:bad": "two words"}
    tables = {
        key: {"servers": "https://a", "auth": auth}
        for key, auth in (("b", "basic:env:B"), ("t", "bearer:env:T"), ("x", "bearer:env:bad"), ("y", "basic:env:T"))
    }
    settings = _parse({"upstreams": tables}, read_secret=texts.__getitem__)
    assert settings.upstream("b").auth.header() == b"Basic bWU6cGFzcy13b3Jk"
    assert settings.upstream("t").auth.header() == b"Bearer tok-en"
    for name in ("x", "y"):
        with pytest.raises(ConfigError) as refused:
            settings.upstream(name).auth.header()
        assert "two words" not in str(refused.value) and "tok-en" not in str(refused.value)
    assert "pass-word" not in repr(settings)


@pytest.mark.parametrize(
    ("rule", "target", "queue", "becomes"),
    [
        (
            {"match": {"host": "old.example"}, "replace": {"host": "new.example"}},
            "http://old.example:81/x?y",
            "q",
            "http://new.example:81/x?y",
        ),
        (
            {"match": {"host": "*.old.example"}, "replace": {"scheme": "https", "port": 8443}},
            "http://a.old.example/x",
            "q",
            "https://a.old.example:8443/x",
        ),
        ({"match": {"path": "/api"}, "replace": {"path": "/v2"}}, "http://a/api/x?y=/api", "q", "http://a/v2/x?y=/api"),
        ({"match": {"path": "/api"}, "replace": {"path": "/v2"}}, "http://a/apix", "q", None),
        ({"match": {"path": "/api/"}, "replace": {"path": "/"}}, "/api/x?y", "q", "app:/x?y"),
        (
            {"match": {"path": "/api"}, "replace": {"path": "/v2"}},
            "http://a/%61p%69/x%2fy?%61",
            "q",
            "http://a/v2/x%2Fy?%61",
        ),
        ({"match": {"path": "/%61pi"}, "replace": {"path": "/%762"}}, "/api", "q", "app:/%762"),
        ({"match": {"path": "/a%c3%a9"}, "replace": {"path": "/b"}}, "/%61%C3%A9/%2d", "q", "app:/b/-"),
        ({"match": {"path": "/a/b"}, "replace": {"path": "/c"}}, "/a%2Fb", "q", None),
        ({"match": {"path": "/api"}, "replace": {"host": "b"}}, "/%61pi", "q", "http://b/%61pi"),
        ({"match": {"port": 80}, "replace": {"port": 8080}}, "http://a/", "q", "http://a:8080/"),
        ({"match": {"scheme": "https"}, "replace": {"scheme": "http"}}, "https://a/", "q", "http://a/"),
        ({"match": {"host": "a"}, "replace": {"upstream": "web"}}, "http://a:9/x?y", "q", "web:/x?y"),
        ({"match": {"queue": "queue.search.*"}, "replace": {"upstream": "web"}}, "/x", "queue.search.a", "web:/x"),
        ({"match": {"queue": "queue.search"}, "replace": {"upstream": "web"}}, "/x", "queue.search.a", None),
        ({"match": {"upstream": "app"}, "replace": {"host": "b", "path": "/only"}}, "/x?y", "q", "http://b/only?y"),
        ({"match": {"host": "app"}, "replace": {"host": "b"}}, "/x", "q", None),
    ],
)
def test_a_rule_replaces_what_it_says(rule, target, queue, becomes):
    """And matches what it says, on borders of segments and names."""
    [parsed] = _parse({"rewrite": [rule], "upstreams": WEB}).rewrite
    given = parse_target(target)[0]
    assert (str(parsed.replaced(given)) if parsed.matches(given, queue) else None) == becomes


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"match": {"path": "/a"}},
        {"replace": {}},
        {"replace": {"host": "a"}, "call": "a:b"},
        {"call": "os.system"},
        {"replace": {"host": "a/b"}},
        {"replace": {"host": "*.a"}},
        {"replace": {"port": 0}},
        {"replace": {"path": "x"}},
        {"replace": {"path": "/a/../b"}},
        {"replace": {"scheme": "ftp"}},
        {"replace": {"queue": "a"}},
        {"match": {"hosts": "a"}, "replace": {"host": "b"}},
        {"replace": {"upstream": "web", "host": "b"}},
        {"call": 7},
        7,
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule):
    """At the start, naming its table."""
    with pytest.raises(ConfigError, match="rewrite"):
        _parse({"rewrite": [rule]})


@pytest.mark.parametrize(
    ("name", "value"),
    [("deny_networks", "10.0.0.1/8"), ("allow_networks", ["x"]), ("deny_hosts", ["a:80"]), ("allow_hosts", ["a.*"])],
)
def test_lists_of_places_are_checked(name, value):
    """A network with host bits, or a host with a port, would not mean what it seems to."""
    with pytest.raises(ConfigError, match=name):
        _parse({name: value})
    assert _parse({}, {"AP4R_DENY_HOSTS": "B\u00fccher.example, *.x.example"}).deny_hosts == (
        "xn--bcher-kva.example",
        "*.x.example",
    )


def test_an_upstream_that_is_not_there_is_an_error_in_the_handler():
    """It lists those that are; a dispatcher's intake knows better than the process that writes to it."""
    settings = _parse({"upstreams": {"web": {"servers": "http://a"}}})
    assert str(describe_message("web:/x", limits=settings).target) == "web:/x"
    with pytest.raises(TargetRefused, match="known are app, web"):
        describe_message("wbe:/x", limits=settings)


@pytest.mark.parametrize("place", ["match", "replace"])
def test_a_rule_names_upstreams_that_are_there(place):
    """A misspelt one stops the start, and says which there are: no message could ever go there."""
    rule = {"match": {"path": "/a"}, "replace": {"path": "/b"}}
    with pytest.raises(ConfigError, match=r"no upstream is called \S*wbe\S*; known are app, web") as caught:
        _parse({"rewrite": [rule, {**rule, place: {"upstream": "wbe"}}], "upstreams": WEB})
    assert caught.value.setting == f"rewrite 2.{place}"
    assert len(_parse({"rewrite": [{**rule, place: {"upstream": "web"}}], "upstreams": WEB}).rewrite) == 1
