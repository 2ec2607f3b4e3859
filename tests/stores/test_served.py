"""Each store from end to end: a web server's handler puts, `twistd ap4r` delivers, and the commands that prepare it."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.support.databases import KINDS, shared_server
from tests.support.factories import messages, put
from tests.support.probe import wait_until
from tests.support.processes import HOST, free_port
from tests.support.rawclient import ask_raw
from tests.support.servers import is_installed, start_server
from tests.support.target import ScriptedTarget

EVERY = ["sqlite", *sorted(KINDS)]


@pytest.fixture
def target():
    """A target in threads of this process."""
    with ScriptedTarget() as scripted:
        yield scripted


@pytest.fixture(params=EVERY)
def place(request, tmp_path):
    """The URL of an empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ap4r.db"
    return shared_server(request.param).make("own")


def tables(url):
    """List the tables of a database."""
    return set(inspect(create_engine(url, poolclass=NullPool)).get_table_names())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("web", ["gunicorn-gthread", "waitress"])
def test_from_the_handler_to_the_action(place, web, processes, target):
    """What a handler asked for is called by the dispatcher, and then nothing is left in the store."""
    if not is_installed(web):
        pytest.skip(f"{web} is not installed")
    port, health = free_port(), free_port()
    start_server(processes, web, port, "tests.support.apps:served", AP4R_STORE=place)
    process = processes.twistd_ap4r(
        "--store", place, "--app-url", target.door(), "--listen", f"tcp:{health}:interface={HOST}"
    )
    process.wait_for_output("works on")
    for number in range(10):
        assert ask_raw(port, f"/kept/one_chunk?messages=2&request={number}").status == 200
    assert ask_raw(port, "/kept/not_found?messages=2&request=10").status == 404
    target.wait_for(20)

    def due():
        with urllib.request.urlopen(f"http://{HOST}:{health}/healthz", timeout=10) as page:
            [store] = json.loads(page.read())["stores"]
        return store["due"]

    wait_until(lambda: sum(due()[state] for state in ("ready", "scheduled", "leased")) == 0, "nothing is left")
    doctor = processes.ap4r("doctor", "--store", place)
    assert (doctor.returncode, "nothing found" in doctor.stdout) == (0, True), doctor.stdout
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
    assert len(set(target.ids())) == 20
    doctor = processes.ap4r("doctor", "--store", place)
    assert (doctor.returncode, "no dispatcher of this store is alive" in doctor.stdout) == (1, True)


def test_doctor_says_that_a_server_can_only_be_read(server, url, processes):
    """`ap4r doctor` names a server that takes no writes, though it answers every question."""
    assert processes.ap4r("migrate", "--store", url).returncode == 0
    server.make_read_only(True)
    try:
        refused = processes.ap4r("doctor", "--store", url)
    finally:
        server.make_read_only(False)
    assert refused.returncode == 1
    assert "nothing can be written to it" in refused.stdout and "read-only" in refused.stdout
    assert "nothing can be written" not in processes.ap4r("doctor", "--store", url).stdout


def test_with_tables_off_the_command_is_named_and_helps(place, processes, target):
    """`create_tables` off: the dispatcher ends with the command that makes the tables, and runs after it."""
    off = {"AP4R_CREATE_TABLES": "off", "AP4R_STORE": place}
    refused = processes.twistd_ap4r("--listen", "none", name="refused", **off)
    assert refused.wait(30) == 1
    assert "ap4r migrate --store" in refused.output and "s3cret" not in refused.output
    assert processes.ap4r("migrate", "--check", "--store", place).returncode == 1
    made = processes.ap4r("migrate", "--store", place)
    assert (made.returncode, made.stderr) == (0, "")
    assert processes.ap4r("migrate", "--check", "--store", place).returncode == 0
    process = processes.twistd_ap4r("--listen", "none", **off)
    process.wait_for_output("works on")


def test_two_prefixes_beside_the_applications_own_tables(place, opened, processes, target):
    """Two stores live in one database with the application's tables, and none touches another's."""
    engine = create_engine(place, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE messages (id integer primary key, said varchar(20))"))
        connection.execute(text("INSERT INTO messages VALUES (1, 'ours')"))
    stores = {prefix: opened(place, table_prefix=prefix) for prefix in ("one_", "two_")}
    for store in stores.values():
        put(store, *messages(3), now=None)
    made = tables(place)
    assert {name.partition("_")[0] for name in made} == {"messages", "one", "two"}
    assert len([name for name in made if name.startswith("one_")]) == len(
        [name for name in made if name.startswith("two_")]
    )
    process = processes.twistd_ap4r(
        "--store", place, "--app-url", target.door(), "--listen", "none", AP4R_TABLE_PREFIX="two_"
    )
    process.wait_for_output("works on")
    target.wait_for(3)
    wait_until(lambda: not stores["two_"].status().queues, "all of one are delivered")
    assert stores["one_"].status().queues[0].ready == 3
    with engine.connect() as connection:
        assert connection.execute(text("SELECT said FROM messages")).scalars().all() == ["ours"]
    assert processes.ap4r("migrate", "--check", "--store", place, AP4R_TABLE_PREFIX="one_").returncode == 0


@pytest.mark.parametrize(
    ("kind", "option", "statement", "value"),
    [
        ("mariadb", "init_command=SET+@told%3D'by+the+url'", "SELECT @told", "by the url"),
        ("mariadb", "program_name=shop", None, None),
        ("postgresql", "application_name=shop", "SHOW application_name", "shop"),
        ("postgresql", "options=-c%20work_mem%3D5MB", "SHOW work_mem", "5MB"),
    ],
)
def test_options_of_the_driver_stand_in_the_url(kind, option, statement, value, opened):
    """What the driver understands can be said behind the URL's question mark."""
    store = opened(f"{shared_server(kind).make('own')}?{option}")
    put(store, *messages(1))
    assert store.status().queues[0].ready == 1
    if statement is not None:
        with store._database._connected(5.0) as connection:
            assert connection.exec_driver_sql(statement).scalar() == value


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_through_a_socket_file(kind, opened):
    """A server on this machine is reached through its socket too."""
    server = shared_server(kind)
    url = server.make("own")
    head, _, _ = url.partition("127.0.0.1")
    if kind == "mariadb":
        server.execute("GRANT ALL ON own.* TO 'ap4r'@'localhost' IDENTIFIED BY 's3cret'")
        url = f"{head}/own?unix_socket={server.folder}/s"
    else:
        url = f"{head}/own?host={server.folder}&port={server.port}"
    store = opened(url)
    put(store, *messages(2))
    assert store.status().queues[0].ready == 2
