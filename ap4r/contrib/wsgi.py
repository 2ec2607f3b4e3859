"""Plain WSGI: an application, or a part of one, that takes verified deliveries only; `ap4r.require_delivery` too."""

from ap4r.outbox.required import require_delivery

__all__ = ["require_delivery"]
