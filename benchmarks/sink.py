"""The server that every benchmark delivers to: one nginx worker on loopback that answers 200 and counts."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    client_max_body_size 16m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        {secure}
        location = /count {{ stub_status; }}
        location / {{ return 200 "true"; }}
    }}
}}
"""


@dataclass(frozen=True)
class Sink:
    """A running sink."""

    url: str
    secure_url: str = ""  #: https, where there is a certificate

    def requests(self) -> int:
        """Count the requests served so far; asking counts as one."""
        with urllib.request.urlopen(f"{self.url}/count") as answer:
            text = answer.read().decode()
        # "Active connections: …\nserver accepts handled requests\n A H R \n…" (ngx_http_stub_status_module)
        return int(text.splitlines()[2].split()[2])


@contextmanager
def nginx_sink(certificate: Path | None = None, key: Path | None = None) -> Iterator[Sink]:
    """Run nginx on a free port of loopback until the block ends.

    :param certificate: of 127.0.0.1; with it and its key nginx speaks https at a second port.
    :raises SystemExit: nginx is not installed.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("this benchmark delivers to nginx; install it with: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="ap4r-bench-") as folder:
        with socket.socket() as probe, socket.socket() as other:
            probe.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            port, secure_port = probe.getsockname()[1], other.getsockname()[1]
        secure = ""
        if certificate is not None:
            secure = f"listen 127.0.0.1:{secure_port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};"
        conf = Path(folder, "nginx.conf")
        conf.write_text(_CONF.format(folder=folder, port=port, secure=secure))
        process = subprocess.Popen(
            [program, "-p", folder, "-c", str(conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            sink = Sink(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure_port}" if secure else "")
            _wait_until_up(process, sink, Path(folder, "error.log"))
            yield sink
        finally:
            process.terminate()
            process.wait(10)


def _wait_until_up(process: subprocess.Popen[bytes], sink: Sink, log: Path) -> None:
    give_up_at = time.monotonic() + 10
    while True:
        try:
            sink.requests()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise SystemExit(f"nginx did not start: {log.read_text() if log.exists() else '(no log)'}") from None
            time.sleep(0.05)
