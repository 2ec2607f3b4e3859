"""Targets by name: what werkzeug, Flask and Django make of them, and the errors for unknown names."""

from __future__ import annotations

import sys
import types

import flask
import pytest
from django.test.utils import override_settings
from django.urls import clear_url_caches, include, path, re_path
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Map, Rule, Subdomain

from ap4r.describe.routes import resolve_target
from ap4r.errors import ConfigError, TargetRefused
from ap4r.middleware import AP4RMiddleware, find_routes
from tests.support.django_settings import configure
from tests.support.sink import MemorySink

MAP = Map(
    [
        Rule("/search/<int:id>", endpoint="search.reindex"),
        Rule("/orders", endpoint="orders.index", methods=["GET"]),
        Rule("/jobs/<controller>/<action>", endpoint="job"),
        Rule("/special/<name>", endpoint="special", defaults={"controller": "shop", "action": "special"}),
        Subdomain("api", [Rule("/x", endpoint="api.x")]),
    ]
)


def resolve(given, routes=MAP):
    """Return target and queue as text."""
    target, queue = resolve_target(given, find_routes(None, routes))
    return str(target), queue


@pytest.mark.parametrize(
    ("given", "target", "queue"),
    [
        ({"endpoint": "search.reindex", "id": 12}, "app:/search/12", "queue.search.reindex"),
        ({"url": {"endpoint": "search.reindex", "id": 12}}, "app:/search/12", "queue.search.reindex"),
        ({"endpoint": "search.reindex", "id": 12, "q": "ä b"}, "app:/search/12?q=%C3%A4+b", "queue.search.reindex"),
        ({"endpoint": "orders.index"}, "app:/orders", "queue.orders.index"),
        ({"controller": "orders", "action": "index"}, "app:/orders", "queue.orders.index"),
        ({"controller": "search", "action": "reindex", "id": 5}, "app:/search/5", "queue.search.reindex"),
        ({"controller": "a", "action": "b"}, "app:/jobs/a/b", "queue.a.b"),
        ({"controller": "shop", "action": "special", "name": "x y"}, "app:/special/x%20y", "queue.shop.special"),
        ("/orders/4711", "app:/orders/4711", "queue.orders._"),
        ({"url": "/orders/4711"}, "app:/orders/4711", "queue.orders._"),
    ],
)
def test_a_name_becomes_a_path_of_the_map(given, target, queue):
    """The queue is named after the endpoint, or the controller and action."""
    assert resolve(given) == (target, queue)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"endpoint": "search.reindx", "id": 1},
            "no route has the endpoint 'search.reindx'; there are search.reindex, ",
        ),
        ({"endpoint": "search.reindex"}, r"needs those of /search/<int:id>"),
        ({"endpoint": "search.reindex", "id": None}, r"needs those of /search/<int:id>"),
        ({"endpoint": "search.reindex", "id": "x"}, r"\(id\) do not make a path"),
        ({"endpoint": "search.reindex", "id": -1}, r"\(id\) do not make a path"),
        ({"endpoint": "special", "controller": "shop"}, "one of"),
        ({"endpoint": "search.reindex", "id": {1}}, r"\(id\) do not make a path"),
        ({"controller": "search", "action": "reindex"}, "needs those of /search/<int:id>"),
        ({"endpoint": []}, "no route has the endpoint"),
        ({"endpoint": None}, "no route has the endpoint"),
        ({"endpoint": "api.x"}, "particular host"),
        ({"controller": "a"}, "both be given, each a non-empty"),
        ({"controller": 1, "action": "b"}, "both be given, each a non-empty"),
        ({"endpoint": "job", "controller": "a"}, "one of"),
        ({"endpoint": "job", 1: 2}, "strings"),
    ],
)
def test_a_wrong_name_or_value_is_refused_in_the_callers_line(given, told):
    """The error lists what exists, the nearest first, and stays short."""
    with pytest.raises(TargetRefused, match=told) as refused:
        resolve(given)
    assert len(str(refused.value)) < 2_000


def test_the_list_of_names_is_bounded():
    """However many routes there are, the nearest ten are listed and the rest counted."""
    many = Map([Rule(f"/{number}", endpoint=f"page{number}" + "x" * 200) for number in range(500)])
    with pytest.raises(TargetRefused, match=r"there are page499xxx.* and 490 more$") as refused:
        resolve({"endpoint": "page499" + "x" * 100}, many)
    assert len(str(refused.value)) < 2_000


def test_routes_replace_the_default():
    """With routes given, a controller and action that no rule has are an error; without, they are a path."""
    narrow = Map([Rule("/orders", endpoint="orders.index")])
    with pytest.raises(TargetRefused, match=r"there are orders\.index"):
        resolve({"controller": "a", "action": "b"}, narrow)
    target, queue = resolve_target({"controller": "a", "action": "b"}, None)
    assert (str(target), queue) == ("app:/a/b", "queue.a.b")
    with pytest.raises(TargetRefused, match="there are no routes"):
        resolve_target({"endpoint": "a"}, None)
    with pytest.raises(ConfigError, match="routes"):
        find_routes(None, 5)


def test_flask_is_found_through_the_middleware_around_it():
    """Its own url_map is used, with routes that were added later; other names keep the default."""
    sink, app = MemorySink(), flask.Flask("shop")
    app.wsgi_app = ProxyFix(app.wsgi_app)
    app.wsgi_app = AP4RMiddleware(app.wsgi_app, store=sink)

    @app.post("/place")
    def place():
        handle = flask.request.environ["ap4r"]
        handle.async_to({"endpoint": "mail", "number": "47 11"}, {"id": 1})
        handle.async_to({"controller": "search", "action": "reindex"})
        with pytest.raises(TargetRefused, match="there are mail, "):
            handle.async_to({"endpoint": "male"})
        return "", 204

    @app.post("/mail/<number>")
    def mail(number):
        return number

    assert app.test_client().post("/place").status_code == 204
    assert [(message.target.url, message.queue) for message in sink.messages] == [
        ("/mail/47%2011", "queue.mail"),
        ("/search/reindex", "queue.search.reindex"),
    ]


@pytest.fixture
def urls(monkeypatch):
    """A Django URL conf."""
    configure()
    module = types.ModuleType("shop_urls")
    inner = ([path("mail/<slug:to>/", lambda request: None, name="mail")], "shop")
    module.urlpatterns = [
        path("orders/<int:id>/", lambda request: None, name="order-detail"),
        path("shop/", include(inner, namespace="shop")),
        path("depot/", include((inner[0], "depots"), namespace="depot")),
        path("report/", lambda request, kind: None, {"kind": "day"}, name="report"),
        path("page/<int:id>/", lambda request, **_: None, name="page"),
        re_path(r"^page/(?P<id>[0-9]+)/(?P<part>[a-z]+)/$", lambda request, **_: None, name="page"),
    ]
    monkeypatch.setitem(sys.modules, "shop_urls", module)
    with override_settings(ROOT_URLCONF="shop_urls", ALLOWED_HOSTS=["*"]):
        clear_url_caches()
        yield "shop_urls"
    clear_url_caches()


def test_djangos_names_are_reversed(urls):
    """With keyword arguments and with positional ones, through namespaces; from the application or from a URL conf."""
    from django.core.handlers.wsgi import WSGIHandler

    for routes in (find_routes(WSGIHandler()), find_routes(None, urls)):
        for given, target, queue in (
            ({"endpoint": "order-detail", "id": 12}, "app:/orders/12/", "queue.order-detail"),
            ({"endpoint": "order-detail", "args": [12]}, "app:/orders/12/", "queue.order-detail"),
            ({"endpoint": "shop:mail", "to": "you"}, "app:/shop/mail/you/", "queue.shop.mail"),
            ({"controller": "shop", "action": "mail", "to": "you"}, "app:/shop/mail/you/", "queue.shop.mail"),
        ):
            found, name = resolve_target(given, routes)
            assert (str(found), name) == (target, queue)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"endpoint": "order-detail", "id": 12, "q": "ä b"}, "/orders/12/?q=%C3%A4+b"),
        ({"endpoint": "order-detail", "tag": ["a", "b"], "id": 12, "no": None, "n": 5}, "/orders/12/?tag=a&tag=b&n=5"),
        ({"endpoint": "order-detail", "id": 12, "no": None}, "/orders/12/"),
        ({"endpoint": "depot:mail", "to": "you", "q": 1}, "/depot/mail/you/?q=1"),
        ({"endpoint": "depots:mail", "to": "you", "q": 1}, "/depot/mail/you/?q=1"),
        ({"controller": "shop", "action": "mail", "to": "you", "q": 1}, "/shop/mail/you/?q=1"),
        ({"endpoint": "report", "kind": "day"}, "/report/"),
        ({"endpoint": "report", "kind": "day", "q": 1}, "/report/?q=1"),
        ({"endpoint": "page", "id": 1, "part": "a", "q": 1}, "/page/1/a/?q=1"),
        ({"endpoint": "page", "id": 1, "q": 1}, "/page/1/?q=1"),
    ],
    ids=str,
)
def test_values_without_a_place_become_the_query_in_django_too(urls, given, path):
    """As in Flask: what the route, and what it has itself, leave over; a list is several, None is none."""
    assert str(resolve_target(given, find_routes(None, urls))[0]) == f"app:{path}"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"endpoint": "order-detail", "idd": 12}, "needs those of /orders/<int:id>/"),
        ({"endpoint": "order-detail", "id": "x", "q": 1}, "needs those of /orders/<int:id>/"),
        ({"endpoint": "order-detail", "id": 12, "q": "\ud800"}, "needs those of /orders/<int:id>/"),
        ({"endpoint": "report", "kind": "week", "q": 1}, "needs those of /report/"),
        ({"endpoint": "page", "id": 1, "part": "7"}, "needs those of "),
        ({"endpoint": "order-detial", "id": 12}, "there are order-detail, "),
        ({"endpoint": "order-detail"}, "needs those of /orders/<int:id>/"),
        ({"endpoint": "order-detail", "id": "x"}, "needs those of /orders/<int:id>/"),
        ({"endpoint": "shop:mail", "args": ["ü"]}, "needs those of /shop/mail/<slug:to>/"),
        ({"endpoint": "shop:mail", "args": [1], "to": "x"}, "combined with keyword"),
        ({"endpoint": 5}, "name of a route"),
        ({"controller": "a", "action": "b"}, "there are "),
    ],
)
def test_djangos_errors_list_what_exists(urls, given, told):
    """A wrong name and a missing value, in the caller's line."""
    with pytest.raises(TargetRefused, match=told):
        resolve_target(given, find_routes(None, urls))
