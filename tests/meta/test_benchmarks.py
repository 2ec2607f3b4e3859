"""Each benchmark runs here in its short form, so that it keeps working. Speed itself is not checked."""

from __future__ import annotations

import glob
import json
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import BENCHMARKS
from tests.meta.tree import ROOT

SERVERS = {"mariadb": "/usr/sbin/mariadbd", "postgresql": "/usr/lib/postgresql/*/bin/postgres"}


@pytest.mark.timeout(120)
def test_the_delivery_benchmark_runs():
    """`make bench` still measures: it delivers every message to nginx and says how fast, beside bare treq."""
    if shutil.which("nginx") is None and shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    command = [sys.executable, "-m", "benchmarks.deliver", "--messages", "200", "--rounds", "1", "--concurrency", "8"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "treq" in done.stdout


@pytest.mark.timeout(180)
def test_the_benchmark_of_claims_runs():
    """`make bench-claims` still measures: it fills a store on each database there is, and prints a line for each."""
    stores = ["sqlite", *(kind for kind, program in SERVERS.items() if glob.glob(program))]
    small = ["--waiting", "5000", "--few", "1000", "--claims", "3", "--lanes", "100", "--passing", "1000"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.claims", "--stores", ",".join(stores), *small],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["ms,", "median", "few", "full", "ratio", "held", "before", "passing"]
    assert [line.split()[0] for line in lines[: len(stores)]] == stores
    assert all(float(figure) > 0 for line in lines[: len(stores)] for figure in line.split()[1:])


@pytest.mark.timeout(180)
def test_the_memory_of_a_dispatcher_does_not_grow_with_the_backlog():
    """A dispatcher before thirty thousand messages in each state takes no more memory than one before none."""
    if shutil.which("nginx") is None and shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    small = ["--stores", "sqlite", "--backlog", "30000", "--deliveries", "1000", "--most", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *small],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "no backlog" in done.stdout


@pytest.mark.timeout(180)
def test_the_benchmark_of_the_peers_runs(tmp_path):
    """`make bench-peers` still measures: ours, and of the others those that are installed; it names the rest."""
    if shutil.which("nginx") is None and shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    files = {kind: tmp_path / f"peers.{kind}" for kind in ("json", "plot", "markdown")}
    small = ["--peers", "ap4r_1,taskiq", "--messages", "100", "--rounds", "1", "--seconds", "5"]
    small += ["--latency-messages", "3", "--kill-seconds", "0.5", *(f"--{kind}={path}" for kind, path in files.items())]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *small],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    ours, other = json.loads(files["json"].read_text())
    assert [len(ours[name]) for name in ("deliveries", "cpu", "enqueued", "rss", "latency")] == [1, 1, 1, 1, 3]
    assert other["deliveries"] or f"skipped: {other['name']}: {other['skipped']}" in done.stdout
    assert "| ap4r, SQLite, one process |" in files["markdown"].read_text()
    assert "ap4r, SQLite, one process" in ElementTree.fromstring(files["plot"].read_text()).itertext()


@pytest.mark.timeout(180)
def test_the_benchmark_of_the_peers_at_other_work_runs(tmp_path):
    """`--work all` still measures: ours at each kind of work; of the others those that are installed."""
    if shutil.which("nginx") is None and shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    files = {kind: tmp_path / f"works.{kind}" for kind in ("json", "markdown")}
    small = ["--work", "all", "--peers", "ap4r_1,huey_sqlite", "--messages", "20", "--rounds", "1", "--seconds", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *small, *(f"--{kind}={path}" for kind, path in files.items())],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = json.loads(files["json"].read_text())
    ours, others = found[::2], found[1::2]
    assert [figures["work"] for figures in ours] == ["https", "slow", "large", "names", "bursts"]
    assert all(len(figures[name]) == 1 for figures in ours for name in ("deliveries", "cpu", "rss")), done.stdout
    assert ours[1]["in_flight"] > 1
    for figures in others:
        skipped = f"skipped: {figures['work']}: {figures['name']}: {figures['skipped']}"
        assert figures["deliveries"] or skipped in done.stdout
    rows = files["markdown"].read_text().splitlines()
    assert sum("| ap4r, SQLite, one process |" in row for row in rows) == len(ours)


@pytest.mark.timeout(180)
def test_the_benchmark_of_balancing_runs(tmp_path):
    """`make bench-balance` still measures: by every policy what runs delivers all, at no attempt's cost."""
    files = {kind: tmp_path / f"balance.{kind}" for kind in ("json", "plot", "markdown")}
    small = ["--rate", "100", "--seconds", "1", "--rounds", "1", *(f"--{kind}={path}" for kind, path in files.items())]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.balance", *small],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = json.loads(files["json"].read_text())
    policies = ["least_outstanding", "random_two", "round_robin"]
    assert [figures["policy"] for figures in found] == policies
    for figures in found:
        [quick], [slow], [stopped] = (figures["shares"][server] for server in ("quick", "slow", "stopped"))
        assert (stopped, figures["again"]) == (0, 0)
        assert quick + slow == pytest.approx(1)
        assert min(quick, slow) > 0
    assert files["markdown"].read_text().count("\n") == 2 + len(policies)
    assert set(policies) < set(ElementTree.fromstring(files["plot"].read_text()).itertext())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in ("latency", "intake")])
def test_each_benchmark_of_ours_runs(name, tmp_path):
    """Each benchmark with a goal still measures, alone: `python -m benchmarks.NAME` finds figures that are numbers."""
    figures = _figures(f"benchmarks.{name}", tmp_path)
    assert all(figure["value"] >= 0 for figure in figures)


@pytest.mark.timeout(120)
def test_all_benchmarks_of_ours_make_one_table(tmp_path):
    """`make bench` prints the chosen figures beside their goals; those of the latency and of the intake among them."""
    figures = _figures("benchmarks", tmp_path, "--only", "latency,intake,middleware")
    goals = [figure["goal"] for figure in figures]
    assert goals == [5, 20, 3_000, 5] or (shutil.which("wrk") is None and goals == [5, 20, 5])


def _figures(module, folder, *options):
    if shutil.which("nginx") is None and shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed")
    command = [sys.executable, "-m", module, *options, "--scale", "0.01", "--rounds", "1", "--json", folder / "found"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout
    figures = json.loads((folder / "found").read_text())
    assert all(figure["what"] in done.stdout for figure in figures)
    if not figures:
        pytest.skip(next(line for line in done.stdout.splitlines() if "is skipped" in line))
    return figures
