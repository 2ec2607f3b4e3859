"""Registers the command `twistd ap4r`; `ap4r.tap` is imported only when it is used.

This folder is installed into Twisted's own `twisted/plugins` and therefore has no __init__.py.
"""

from twisted.application.service import ServiceMaker

ap4r = ServiceMaker(
    "ap4r",
    "ap4r.tap",
    "Deliver background jobs as HTTP requests to your application.",
    "ap4r",
)
