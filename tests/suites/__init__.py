"""Public test suites of other projects, run through the middleware: where no message waits, it must be invisible.

The suites of Werkzeug, Flask, WebOb, Bottle and waitress come from their source distributions, with versions and hashes
that `sdists.txt` pins, and CPython's test_wsgiref from the interpreter's own `test` package. A plugin of pytest
(`plugin/ap4r_suite.py`) wraps each WSGI application that a suite calls in AP4RMiddleware. Each suite runs in a process
of its own, once plain and once with a message in each request. What fails then must stand in `known.py`, with its
reason; what stands there and passes is an error too.

`make suites` runs every file of the suites; `make test-all` runs those that call an application. `.ci/prepare-suites`
puts the sources and an own pytest into `.venv-suites`.
"""
