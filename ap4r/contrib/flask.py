"""Flask-WTF: lets verified deliveries past the protection of forms (CSRF), and nobody else.

Use `ap4r.contrib.flask.CSRFProtect` in the place of `flask_wtf.CSRFProtect`.
"""

from __future__ import annotations

from typing import Any

import flask
from flask_wtf import csrf

from ap4r.contrib.request import delivery_of


class CSRFProtect(csrf.CSRFProtect):
    """Flask-WTF's own, which asks no token of a delivery whose signature was verified. Everybody else is asked."""

    def protect(self, *arguments: Any, **more: Any) -> None:
        """Let a verified delivery pass, its forms included; leave every other request to Flask-WTF."""
        if delivery_of(flask.request.environ) is None:
            super().protect(*arguments, **more)
            return
        # What Flask-WTF itself notes for its forms after a token that was right.
        flask.g.csrf_valid = True
