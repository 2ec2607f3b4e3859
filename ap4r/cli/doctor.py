"""`ap4r doctor`: what keeps messages from being delivered soon."""

from __future__ import annotations

from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options, stores_option
from ap4r.cli.output import say
from ap4r.cli.stores import report_on_each
from ap4r.control.doctor import Diagnosis, diagnose


@click.command(epilog="Exits 1 when it finds something.")
@stores_option
@config_and_json_options
def doctor(stores: tuple[str, ...], config: str | None, as_json: bool) -> int:
    """Find what keeps messages from being delivered soon."""
    return report_on_each(
        stores,
        config,
        diagnose,
        show=_show,
        as_json=asdict if as_json else None,
        needs_person=lambda diagnosis: bool(diagnosis.findings),
    )


def _show(diagnosis: Diagnosis) -> None:
    say(f"store {diagnosis.store}")
    say("\n".join(f"- {finding}" for finding in diagnosis.findings) or "nothing found: messages are delivered at once")
    say("\n".join(diagnosis.notes))
