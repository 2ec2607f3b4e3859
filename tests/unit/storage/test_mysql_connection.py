"""What connections to MySQL share, before any is made."""

from __future__ import annotations

import ssl

from ap4r.storage.databases.mysql.connection import MysqlConnection


def test_the_systems_authorities_are_read_once(monkeypatch):
    """Connections of which nothing is said of TLS share what PyMySQL prepares for it; others have their own."""
    monkeypatch.setattr(MysqlConnection, "_usual_context", None)
    one, other = (MysqlConnection(0.0, defer_connect=True) for _ in range(2))
    asked = MysqlConnection(0.0, defer_connect=True, ssl={"check_hostname": False})
    assert isinstance(one.ctx, ssl.SSLContext)
    assert one.ctx is other.ctx
    assert asked.ctx is not one.ctx
    assert not MysqlConnection(0.0, defer_connect=True, ssl_disabled=True).ssl
