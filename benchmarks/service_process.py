"""The service as a process of its own, and a client that does no more than HTTP."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from synthspine.shards import ShardOptions

ROOT = Path(__file__).resolve().parents[1]
_START_S = 120
_PIECE = 2**20


class Service:
    """``python shards/serve.py`` on loopback; a context manager that waits until it is ready.

    Args:
        options: what it serves.
        spool: folder for rendered shards.
        port: to listen on; 0 for any.

    Attributes:
        url: where it answers.
        port: of that.
    """

    def __init__(self, options: ShardOptions, spool: Path, port: int = 0) -> None:
        self._command = [
            *(sys.executable, str(ROOT / "shards" / "serve.py"), "--port", str(port)),
            *("--shards-dir", options.shards_dir, "--device", options.device),
            *("--synthetic-samples", str(options.synthetic_samples)),
            *("--samples-per-shard", str(options.samples_per_shard), "--spool-dir", str(spool)),
        ]
        self.url, self.port = "", port

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if name != "SYNTHSPINE_TOKEN"}
        # An empty folder to start from: sets that are there are served, whatever data lies elsewhere.
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(self._command[5]).parent,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.match(r"page and previews: (http://\S+)/", line):
                self.url = found[1]
                break
        else:
            raise OSError(f"the service does not start (status {self._process.wait()})")
        self.port = urlsplit(self.url).port or 0
        deadline = time.monotonic() + _START_S
        while not self._ready():
            if time.monotonic() > deadline:
                raise OSError(f"{self.url}: not ready after {_START_S} s")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait(60)

    def resident_bytes(self) -> int:
        """Memory that it holds."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """CPU time that it has had so far, in user and in kernel mode, all its threads together."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _ready(self) -> bool:
        try:
            return Client(self.url).status("/readyz") == 200
        except OSError:
            return False


class Client:
    """A client with a connection that it keeps.

    Args:
        url: of the service.
    """

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        self._piece = bytearray(_PIECE)

    def status(self, path: str) -> int:
        """Status of an answer."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def shard(self, name: str) -> int:
        """Read a shard of the synthetic set to its end; its bytes. Comes again where it is told to.

        Raises:
            OSError: it could not be had.
        """
        while True:
            try:
                self._connection.request("GET", f"/v1/sets/synthetic/{name}")
                answer = self._connection.getresponse()
                if answer.status == 200:
                    size, taken = int(answer.headers["Content-Length"]), 0
                    while taken < size:
                        count = answer.readinto(self._piece)
                        if not count:
                            raise OSError(f"{name}: cut short")
                        taken += count
                    return size
                answer.read()
            except http.client.HTTPException as error:
                self._connection.close()
                raise OSError(f"{name}: {error!r}") from None
            except OSError:
                self._connection.close()
                raise
            if answer.status != 503:
                raise OSError(f"{name}: status {answer.status}")
            time.sleep(int(answer.headers["Retry-After"]))
