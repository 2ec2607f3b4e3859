"""One configuration of Django for all tests of this process, which can have no second one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

urlpatterns: list[object] = []


def configure() -> None:
    """Configure Django, unless it is; skip the test where it is not installed."""
    django = pytest.importorskip("django", reason="Django is not installed")
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test", LOGGING_CONFIG=None, DEBUG=False
        )
        django.setup()


@contextmanager
def routed_by(module: str) -> Iterator[None]:
    """Use a module's `urlpatterns` as Django's within the block."""
    configure()
    from django.test import override_settings
    from django.urls import clear_url_caches

    with override_settings(ROOT_URLCONF=module):
        clear_url_caches()
        yield
    clear_url_caches()
