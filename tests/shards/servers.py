"""Servers for tests, on free ports of this machine: nginx, S3, and one that behaves badly."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

BUCKET = "bucket"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

_CONFIG = """
{user}
worker_processes 1;
daemon off;
pid {own}/pid;
error_log {own}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {own}/access.log;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root "{folder}";
        autoindex on;
    }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """Serves a folder; gives its URL, without a slash at the end."""
    if NGINX is None:
        pytest.skip("nginx is not installed (Debian package nginx-light)")
    with TemporaryDirectory(prefix="nginx-") as own:
        process, port = _started_nginx(folder, Path(own))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _started_nginx(folder: Path, own: Path) -> tuple[subprocess.Popen[bytes], int]:
    log = own / "error.log"
    for _ in range(5):  # another process may take the port first
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""
        (own / "nginx.conf").write_text(_CONFIG.format(user=user, own=own, port=port, folder=folder))
        command = [NGINX, "-p", str(own), "-c", str(own / "nginx.conf"), "-e", str(log)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return process, port
        process.terminate()
        process.wait(10)
    raise RuntimeError(f"nginx does not start: {log.read_text() if log.exists() else 'no log'}")


@contextmanager
def s3() -> Iterator[str]:
    """Starts moto's S3 server and points ``AWS_...`` to it; gives the URL of an empty bucket."""
    reason = "moto and s3fs are not installed: pip install -e '.[dev]'"
    server_module = pytest.importorskip("moto.server", reason=reason)
    s3fs = pytest.importorskip("s3fs", reason=reason)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with s3_environment(f"http://{host}:{port}"):
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
            yield f"s3://{BUCKET}"
    finally:
        server.stop()


@contextmanager
def s3_environment(endpoint: str) -> Iterator[None]:
    """Points ``AWS_...`` to a server; what was set before is set again."""
    import s3fs

    wanted = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    # Cached file systems know the server of the test before.
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class BadServer:
    """A server that answers its first request in the first way, ...; the last way is for all that follow."""

    url: str
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def bad(*ways: Behaviour) -> Iterator[BadServer]:
    """Starts a server that behaves as record."""
    at = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            with at:
                way = ways[min(len(record.requests), len(ways) - 1)]
                record.requests.append(f"{self.command} {self.path}")
                record.headers.append(dict(self.headers))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            way(self)

        do_GET = do_HEAD = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    record = BadServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        server.server_close()


def good(content: bytes) -> Behaviour:
    """Answers with this content."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    return way


def status(code: int) -> Behaviour:
    """Answers with this status and no content."""

    def way(handler):
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return way


def cut(content: bytes, length: int) -> Behaviour:
    """Promises ``length`` bytes, sends fewer, and closes."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    return way


def cut_chunks(content: bytes) -> Behaviour:
    """Sends one chunk and closes before the last."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        handler.close_connection = True

    return way


def no_length(content: bytes) -> Behaviour:
    """Sends content of which nothing tells the end."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    return way


def stall(seconds: float) -> Behaviour:
    """Sends the beginning, and then nothing for that long."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"begin")
        handler.wfile.flush()
        time.sleep(seconds)
        handler.close_connection = True

    return way


def endless(chunked: bool) -> Behaviour:
    """Sends zeros without an end, in chunks or with a length of a terabyte."""

    def way(handler):
        handler.send_response(200)
        name, value = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(2**40))
        handler.send_header(name, value)
        handler.end_headers()
        block = bytes(2**16)
        try:
            while True:
                handler.wfile.write(b"10000\r\n%b\r\n" % block if chunked else block)
        except OSError:
            handler.close_connection = True

    return way


def encoded(content: bytes, encoding: str) -> Behaviour:
    """Sends content in an encoding that may not have been requested."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Encoding", encoding)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return way


def drip(interval_s: float, headers: bool = False) -> Behaviour:
    """Sends a byte at a time: of the content, or of a header."""

    def way(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        if headers:
            handler.send_header("X", "")
            handler.wfile.write(b"".join(handler._headers_buffer).rstrip())
        else:
            handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x")
                time.sleep(interval_s)
        except OSError:
            handler.close_connection = True

    return way
