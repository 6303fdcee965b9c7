"""A headless Chromium, spoken to by its DevTools protocol over a websocket made of the standard library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

REQUIRED = os.environ.get("THETADOT_BROWSER") == "required"
"""Where the project is checked a missing browser is an error; on a machine of one's own the tests are skipped."""
MISSING = CHROMIUM is None and not REQUIRED


class Tab:
    """One page of the browser; ``spoken`` collects what its console said."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        self._socket = socket.create_connection((place.hostname, place.port), timeout=120)
        self._socket.sendall(
            f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        while self._stream.readline() not in (b"\r\n", b""):
            pass
        self._count = 0
        self.spoken: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        self._count += 1
        self._send(json.dumps({"id": self._count, "method": method, "params": params}).encode())
        while True:
            message = json.loads(self._receive())
            self._note(message)
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]

    def run(self, code: str) -> Any:
        """The value of an expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete' && !!window.thetadot")
        self.run("thetadot.started.then(() => true)")

    def wait(self, code: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(code):
            assert time.monotonic() < until, f"never true: {code}"
            time.sleep(0.1)

    def size(self, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def key(self, key: str, code: int, text: str = "") -> None:
        common = {"key": key, "windowsVirtualKeyCode": code, "code": key if key != " " else "Space"}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.spoken.append(str(params["args"]))
            case "Runtime.exceptionThrown":
                self.spoken.append(str(params["exceptionDetails"]))
            case "Log.entryAdded":
                self.spoken.append(str(params["entry"]))

    def _send(self, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else (
            struct.pack("!BBH", 0x81, 0x80 | 126, size) if size < 65536 else struct.pack("!BBQ", 0x81, 0x80 | 127, size)
        )  # fmt: skip
        self._socket.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def _receive(self) -> bytes:
        """One message: its frames joined, pings left out."""
        whole = b""
        while True:
            first, size = self._stream.read(2)
            size &= 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self._stream.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._stream.read(8))
            payload = self._stream.read(size)
            if first & 0x0F in (0, 1):
                whole += payload
                if first & 0x80:
                    return whole

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A tab of a new browser, which ends with the block."""
    assert CHROMIUM is not None, "no chromium: the tests of pages need one (apt-get install chromium)"
    with (profile.parent / f"{profile.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=log, stderr=log,
        )  # fmt: skip
        tab = None
        try:
            tab = Tab(_address(profile, process))
            yield tab
        finally:
            if tab is not None:
                tab.close()
            process.terminate()
            process.wait(timeout=120)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 120
    said = profile / "DevToolsActivePort"
    while not said.exists() or "\n" not in said.read_text():
        assert process.poll() is None, "the browser ended"
        assert time.monotonic() < until, "the browser does not begin"
        time.sleep(0.05)
    port = int(said.read_text().split("\n", 1)[0])
    with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=120) as answer:
        pages = json.load(answer)
    return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
