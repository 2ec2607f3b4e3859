"""What the error codes of MySQL, MariaDB and PyMySQL mean for a store.

Sources: https://mariadb.com/kb/en/mariadb-error-codes/ and https://dev.mysql.com/doc/mysql-errors/8.0/en/.
"""

from __future__ import annotations

import ssl

#: The server has rolled the transaction back; a retry may succeed at once.
ROLLED_BACK = {
    1020: "a row changed meanwhile",
    1205: "the wait for a lock took too long",
    1213: "a deadlock, or a conflict between nodes of the cluster",
    1684: "a table is being changed",
}
TLS_FAILED = 2026
UNAVAILABLE = {
    1021: "the disk is full",
    1037: "the server has no memory left",
    1040: "the server has too many connections",
    1041: "the server has no memory left",
    1043: "the connection could not be opened",
    1047: "this node is not part of the cluster's primary component",
    1053: "the server shuts down",
    1077: "the server shuts down",
    1114: "a table is full",
    1129: "the server blocks this host after failed connections",
    1152: "the connection was ended",
    1159: "the connection was ended",
    1161: "the connection was ended",
    1180: "the commit failed",
    1181: "the rollback failed",
    1184: "the connection was ended",
    1203: "this user has too many connections",
    1226: "this user has used up its resources",
    1290: "the server is read-only",
    1317: "the statement was interrupted",
    1792: "the transaction is read-only",
    1836: "the server is read-only",
    1927: "the connection was killed",
    1969: "the statement took too long",
    2002: "the server cannot be reached",
    2003: "the server cannot be reached",
    2005: "the server's name does not resolve",
    2006: "the connection was lost",
    2013: "the connection was lost",
    2014: "the connection was out of sync",
    TLS_FAILED: "the TLS connection failed: the server has no TLS, or not the expected certificate",
    2055: "the connection was lost",
    3024: "the statement took too long",
    3032: "the server is offline",
    3572: "a lock was not available",
    4031: "the server ended an idle connection",
}
UNUSABLE = {
    1044: "the user may not use this database",
    1045: "user or password is wrong",
    1049: "there is no such database",
    1142: "the user may not do this",
    1227: "the user may not do this",
    1698: "user or password is wrong",
}
DENIED = frozenset({1142, 1227})  #: the server's text names what it denies
NO_TABLE = 1146
UNKNOWN_VARIABLE = 1193
#: The connection broke, or the server was about to end; at COMMIT, the outcome is unknown.
LOST = frozenset({0, 1047, 1053, 1152, 1159, 1161, 1180, 1184, 1317, 1927, 2006, 2013, 2014, 2055, 4031})
#: The server answers, but a write needs another server.
WRONG_SERVER = frozenset({1047, 1290, 1792, 1836, 3032})
#: A table, an index, a column or a row exists already.
THERE_ALREADY = frozenset({1050, 1060, 1061, 1062, 1068, 1091})


def code_of(error: BaseException | None) -> int:
    """Return the code of a server's or PyMySQL's error, or 0 if it has none."""
    if isinstance(getattr(error, "original_exception", None), ssl.SSLError):
        return TLS_FAILED  # PyMySQL uses the code of an unreachable server
    arguments = getattr(error, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0
