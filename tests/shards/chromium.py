"""A headless Chromium, driven over its own protocol: no driver program is needed."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import aiohttp
import pytest

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEYS = {
    "ArrowRight": 39,
    "ArrowLeft": 37,
    "End": 35,
    "Home": 36,
    "Tab": 9,
    "Enter": 13,
    " ": 32,
    "m": 77,
    "n": 78,
    "r": 82,
}


@contextmanager
def chromium():
    """A browser with one empty tab."""
    if PROGRAM is None:
        pytest.skip("Chromium is not installed (Debian package chromium)")
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        process = subprocess.Popen(
            [PROGRAM, *options, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            port = next(
                line.split(":")[2].split("/")[0] for line in process.stderr if "DevTools listening" in line
            )
            tab = Tab(f"http://127.0.0.1:{port}")
            try:
                yield tab
            finally:
                tab.close()
        finally:
            process.terminate()
            process.wait(20)


class Tab:
    """The tab of a browser.

    Attributes:
        requested: every URL that was asked for.
        complaints: what was written to the console as an error.
    """

    def __init__(self, browser):
        self.requested, self.complaints = [], []
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)
        self._loop.run_until_complete(self._connect(browser))
        for part in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{part}.enable")

    async def _connect(self, browser):
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"{browser}/json") as answer:
            found = [page for page in await answer.json() if page["type"] == "page"]
        self._socket = await self._session.ws_connect(found[0]["webSocketDebuggerUrl"], max_msg_size=0)

    def close(self):
        self._loop.run_until_complete(self._socket.close())
        self._loop.run_until_complete(self._session.close())
        self._loop.close()

    def call(self, method, **parameters):
        """Result of a command of the protocol."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), 60))

    async def _call(self, method, parameters):
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            reported = json.loads((await self._socket.receive()).data)
            if reported.get("id") == number:
                assert "error" not in reported, (method, reported)
                return reported["result"]
            if reported.get("method") == "Network.requestWillBeSent":
                self.requested.append(reported["params"]["request"]["url"])
            elif reported.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(reported["params"]["exceptionDetails"])
            elif (
                reported.get("method") == "Log.entryAdded" and reported["params"]["entry"]["level"] == "error"
            ):
                self.complaints.append(reported["params"]["entry"])

    def run(self, script):
        """Value of a script in the page, as JSON."""
        reported = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reported, reported
        return reported["result"].get("value")

    def wait(self, script, seconds=20):
        """Wait until a script gives true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, (script, self.complaints)
            time.sleep(0.02)

    def open(self, url, width=1360, height=1000):
        """Load a page."""
        self.requested.clear()
        self.complaints.clear()
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def press(self, key, times=1):
        """Press a key of the keyboard."""
        event = {
            "key": key,
            "windowsVirtualKeyCode": KEYS[key],
            "code": f"Key{key.upper()}" if len(key) == 1 else key,
        }
        text = {" ": " ", "r": "r", "Enter": "\r"}.get(key)
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text):
        """Type text."""
        self.call("Input.insertText", text=text)

    def screenshot(self):
        """The page as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
