"""Serve the page of records that are still being written, on this machine.

Three addresses: the page, a small JSON that tells whether anything is new, and the page without its largest script for
one that is already open. No path leads to a file. A request must name this server as its host, so that no page from
elsewhere reads it by pointing a name of its own here.
"""

from __future__ import annotations

import errno
import hashlib
import io
import ipaddress
import json
import socket
import threading
import time
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from thetadot.errors import DamagedFile, ThetadotError
from thetadot.records import Follower
from thetadot.report.embed import script
from thetadot.report.page import render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"
PATIENCE = 30.0
"""Seconds that a client has to ask, however it spreads them, and then to take the answer."""
WAITING = 512
"""Connections that may wait to be taken up: as many ask at once as have the page open when a record grows."""


class FolderWatch:
    """Records that are read again when they grow, and the page of what they came to.

    Args:
        paths: folders of runs, or their ``record.jsonl``.
        title: heading of the page.
    """

    def __init__(self, paths: Sequence[str | Path], title: str | None = None) -> None:
        self._followers = [Follower(path) for path in paths]
        self._title = title
        self._lock = threading.Lock()
        self._drawn: tuple[str, str] | None = None

    @property
    def stamp(self) -> str:
        """Differs when a record has changed."""
        return hashlib.sha256("|".join(follower.stamp for follower in self._followers).encode()).hexdigest()[:16]

    def page(self) -> str:
        """The page of what can be read now; drawn again only if a record has changed.

        Raises:
            DamagedFile: no record can be read.
        """
        with self._lock:
            stamp = self.stamp
            if self._drawn is None or self._drawn[0] != stamp:
                records, unreadable = gather(self._followers)
                self._drawn = stamp, render(records, self._title, unreadable=unreadable, live=stamp)
            return self._drawn[1]


def gather(followers: Sequence[Follower]) -> tuple[list[Any], list[str]]:
    """The records that can be read, and a sentence for each that cannot.

    Raises:
        DamagedFile: none can be read; the first one's sentence.
    """
    records, unreadable = [], []
    for follower in followers:
        try:
            records.append(follower.read())
        except DamagedFile as error:
            unreadable.append(str(error))
    if not records:
        raise DamagedFile(unreadable[0])
    return records, unreadable


class Server(ThreadingHTTPServer):
    """Answers for one :class:`FolderWatch`.

    Args:
        watch: what is shown.
        host: address to listen on; anything but the loopback can be reached by others.
        port: 0 takes any that is free.

    Raises:
        ThetadotError: the address is taken or is none of this machine.
    """

    daemon_threads = True
    request_queue_size = WAITING
    block_on_close = False

    def __init__(self, watch: FolderWatch, host: str = LOOPBACK, port: int = 0) -> None:
        self.watch = watch
        self.host = host
        try:
            if ":" in host:
                self.address_family = socket.AF_INET6
            super().__init__((host, port), _Answer)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            taken = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
            remedy = (
                "Pass another --port, or 0 for any that is free."
                if taken
                else "Pass an address of this machine with --host, or leave it out."
            )
            raise ThetadotError(f"cannot serve on {host}, port {port} ({reason}). {remedy}") from error

    def server_bind(self) -> None:
        """Bind without asking a name server who this is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error of ours."""

    @property
    def address(self) -> str:
        """Address of the page for a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/"

    def admits(self, host: str | None) -> bool:
        """Whether a Host header names this server: by number, as localhost, or by the host option."""
        if not host or any(letter.isspace() for letter in host):
            return False
        name, separator, port = host.rpartition(":")
        if not separator or host.endswith("]"):
            name, port = host, "80"
        if port != str(self.server_port):
            return False
        name = name.lower().removeprefix("[").removesuffix("]")
        if name in ("localhost", self.host.lower()):
            return True
        try:
            number = ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname().lower() and not _loops(self.host)
        return number.is_loopback or not _loops(self.host)


def _loops(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Until(io.RawIOBase):
    """A connection read until a time, whether its client is silent or drips."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._until = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


@lru_cache(maxsize=4)
def _encoded(text: str) -> bytes:
    """The page is one for all who ask."""
    return text.encode("utf-8", "replace")


class _Answer(BaseHTTPRequestHandler):
    server: Server
    server_version = "thetadot"
    sys_version = ""
    timeout = PATIENCE

    def setup(self) -> None:
        """Let the whole request have one deadline."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Until(self.connection, PATIENCE))

    def _respond(self) -> None:
        if not self.server.admits(self.headers.get("Host")):
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "The Host header does not name this server.\n")
            return
        answers: dict[str, Callable[[], tuple[str, str]]] = {
            "/": lambda: ("text/html", self.server.watch.page()),
            "/fresh": lambda: ("text/html", self.server.watch.page().replace(script(), "")),
            "/state.json": lambda: ("application/json", json.dumps({"stamp": self.server.watch.stamp})),
        }
        answer = answers.get(self.path)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "There is only one page here: /\n")
            return
        try:
            kind, text = answer()
        except DamagedFile as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n")
        else:
            self._send(HTTPStatus.OK, kind, text)

    do_GET = _respond  # noqa: N815 - the name that http.server looks for
    do_HEAD = _respond  # noqa: N815

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._refuse
        raise AttributeError(name)

    def _refuse(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "Only GET and HEAD.\n", {"Allow": "GET, HEAD"})

    def _send(self, status: HTTPStatus, kind: str, text: str, more: dict[str, str] | None = None) -> None:
        content = _encoded(text)
        self.connection.settimeout(PATIENCE)  # of the whole answer
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **(more or {}),
        }
        self.close_connection = True
        with suppress(ConnectionError, TimeoutError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in http.server
        """A log line a poll would bury everything else."""
