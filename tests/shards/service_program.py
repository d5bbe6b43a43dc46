"""The service as its own process, as a user starts it."""

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from service_thread import ask

ROOT = Path(__file__).parents[2]


class Program:
    """``python shards/serve.py`` with the choices of a small service.

    Attributes:
        process: it.
        url: where it answers.
    """

    def __init__(self, options, *more, port=0, environment=None, launcher=(sys.executable,)):
        shards = options.shards
        rows, columns = shards.grid.shape
        command = [
            *(*launcher, ROOT / "shards/serve.py", "--port", port),
            *("--data-dir", shards.data_dir, "--shards-dir", shards.shards_dir, "--device", "cpu"),
            *("--spacing-mm", shards.grid.spacing_mm, "--shape", rows, columns),
            *("--samples-per-shard", shards.samples_per_shard),
            *("--synthetic-samples", shards.synthetic_samples),
            *("--cache-dir", options.cache_folder, *more),
        ]
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.output = []
        self.url = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line)
            if found := re.match(r"page and previews: (http://\S+)/", line):
                self.url = found[1]

    def wait(self, seconds=200):
        """Wait until it is ready."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.url and ask(f"{self.url}/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("".join(self.output))

    def end(self, how=signal.SIGTERM, seconds=60):
        """Send a signal; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(seconds)
        self._reader.join(10)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
