"""What raw sockets see of WSGI servers, bare and through the middleware: the same bytes, and the messages of successes.

`cases.py` has the requests: 68 of usual kinds, and some of applications that break rules. `applications.py` answers,
`launch.py` starts the servers, `compare.py` asks each case three times: bare, wrapped, and wrapped with a message said.
What differs on the wire, apart from the time, or in what is stored, must stand in `known.py` with
its reason.

`make servers` drives all that pip or apt brings (`.ci/prepare-servers` puts them into `.venv-servers`) and prints a
table; `ARGS="granian uwsgi"` chooses some. `make test-all` drives those of the extra `test`.
"""
