"""Every kind of attack that we know, at once, beside honest messages: the short form of `make bench-attacks`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import ROOT

_TURN_SECONDS = 5


@pytest.mark.timeout(170)
def test_nothing_honest_is_lost_beside_attacks(measured):
    """Beside attacks no honest message is lost, refused or doubled, no effect is had twice, and no descriptor stays."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attacks", "--minutes", "0.25", "--turn", str(_TURN_SECONDS), "--most", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=160, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    honest, _, webhooks = done.stdout.partition("honest messages: ")[2].partition("\n")
    put, stored_not, arrived, lost, doubled = (int(part.split()[0]) for part in honest.split(", "))
    assert (stored_not, lost, doubled) == (0, 0, 0)
    assert put == arrived >= 3 * _TURN_SECONDS
    assert int(webhooks.split()[1]) >= 1
    # All came through at least once; an attack that is never made would be withstood by anything.
    for kind in ("flood of connections", "message to: endless trailers", "internal path", "webhook replayed"):
        assert f"caller: {kind}" in done.stdout
    measured(done.stdout.partition("all, p50")[2].partition("\n")[0].strip())
