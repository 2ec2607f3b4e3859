"""open: the stores that a dispatcher drains, each once."""

from __future__ import annotations

import pytest

from ap4r.settings.settings import Settings
from ap4r.storage.open import open_stores

MYSQL, POSTGRESQL = "mysql+pymysql://", "postgresql+psycopg://"


@pytest.mark.parametrize(
    "urls",
    [
        (f"{MYSQL}u:p@db/shop", f"{MYSQL}u:p@db:3306/shop", f"{MYSQL}other:x@DB/shop?charset=utf8mb4"),
        (f"{MYSQL}u:p@localhost/shop", f"{MYSQL}u:p@127.0.0.1/shop"),
        (f"{MYSQL}u:p@one,two/shop", f"{MYSQL}u:p@two:3306,one/shop"),
        (f"{POSTGRESQL}u:p@db/shop", f"{POSTGRESQL}u:other@db:5432/shop?sslmode=require"),
    ],
)
def test_two_spellings_of_one_store(urls):
    """What differs in the way of getting there only is one store, the first spelling is used."""
    [store] = open_stores(Settings(store=urls[0], stores=urls))
    assert store.name == open_stores(Settings(store=urls[0]))[0].name


@pytest.mark.parametrize(
    "urls",
    [
        (f"{MYSQL}u:p@db/shop", f"{MYSQL}u:p@db/Shop"),
        (f"{MYSQL}u:p@db/shop", f"{MYSQL}u:p@db:3307/shop"),
        (f"{MYSQL}u:p@one,two/shop", f"{MYSQL}u:p@one/shop"),
        (f"{MYSQL}u:p@/shop?unix_socket=/a", f"{MYSQL}u:p@/shop?unix_socket=/b"),
        (f"{POSTGRESQL}u:p@db/shop", f"{POSTGRESQL}v:p@db/shop"),
        (f"{POSTGRESQL}u@/shop?host=/run/a", f"{POSTGRESQL}u@/shop?host=/run/b"),
        (f"{POSTGRESQL}u@db/shop", f"{POSTGRESQL}u@db/shop?options=-csearch_path%3Dother"),
        ("sqlite:////nowhere/a.db", "sqlite:////nowhere/b.db"),
    ],
)
def test_two_stores(urls):
    """Where they may be two, both are drained: one that is left out would never be delivered."""
    assert len(open_stores(Settings(store=urls[0], stores=urls))) == 2
