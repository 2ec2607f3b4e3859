"""The WSGI middleware: it gives every request a handle, and holds its response back until the messages are stored."""

from ap4r.middleware.response.commit_rule import judge_response
from ap4r.middleware.routes.werkzeug import find_routes
from ap4r.middleware.wsgi import AP4RMiddleware
from ap4r.outbox.pending import Verdict

__all__ = ["AP4RMiddleware", "Verdict", "find_routes", "judge_response"]
