"""`ap4r init`: create a secret, so that deliveries are signed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options
from ap4r.cli.output import say, say_json
from ap4r.control.initialise import Initial, initialise, make_secret
from ap4r.settings.environment import config_path


@click.command()
@config_and_json_options
def init(config: str | None, as_json: bool) -> int:
    """Write a new secret into ap4r.toml, which is created if there is none; nothing is overwritten."""
    done = initialise(config_path(config, os.environ), make_secret())
    if as_json:
        say_json(asdict(done))
    else:
        say("\n".join(_sentences(done, os.environ)))
    return 0


def _sentences(done: Initial, environ: Mapping[str, str]) -> list[str]:
    """Return what was done and what is to be done next."""
    if not done.added:
        sentences = [f"{done.path}: it has a secret already; nothing was changed."]
    else:
        made = "created, with a new secret" if done.made else "a new secret was added"
        sentences = [
            f"{done.path}: {made}. Deliveries to the application are signed with it.",
            "Next: restart the dispatcher and the application; both must read this file, or have its secret in "
            "AP4R_SECRETS.",
            'Then AP4RMiddleware(application, internal=["/async/*"]) refuses all other requests to these paths.',
        ]
    if environ.get("AP4R_SECRETS"):
        sentences.append("AP4R_SECRETS is set here, and takes precedence over the file.")
    if done.readable_by_others:
        sentences.append(
            f"Others may read it: chmod 600 {done.path}, or keep the secret elsewhere (env:NAME, file:PATH)."
        )
    return sentences
