"""Hand a web kit to browsers: a small server for one folder, on this machine or on the local network.

Nothing but the files of the kit is served, and nothing is stored. The two headers let a page on this machine
use several threads. Browsers give threads to no page of another machine without TLS.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from typing import Any

from pepr_edge.errors import KitError
from pepr_edge.kit.check import PAGE, START
from pepr_edge.kit.install import KIT
from pepr_edge.untrusted.files import MIB, open_regular
from pepr_edge.untrusted.shown import shown

LOOPBACK = "127.0.0.1"
TYPES = {".html": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8"}
# The paths that are answered, and their files.
FILES = {"/": PAGE, f"/{PAGE}": PAGE, f"/{START}": START}
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# An address that no packet is sent to: it only makes the system choose an interface (RFC 5737).
ELSEWHERE = "192.0.2.1"
# A slow client may not hold a thread for ever.
TIMEOUT_S = 30
# Connections at a time, more than the devices in a room. Each may take 6.5 MB: 100 headers of 64 KiB.
MAX_CONNECTIONS = 64


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files of one kit."""

    server_version = "pepr-edge"
    sys_version = ""
    timeout = TIMEOUT_S

    def __init__(self, folder: Path, names: frozenset[str], *arguments: Any) -> None:
        """Answer one connection; `names` are those by which this machine may be called."""
        self._folder = folder
        self._names = names
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send the headers of a file."""
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        # Another name in the request comes from a foreign page that leads here (DNS rebinding).
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in self._names:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        name = FILES.get(self.path.partition("?")[0])
        if name is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            file = _opened(self._folder / name)
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", TYPES[Path(name).suffix])
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            for header, value in HEADERS.items():
                self.send_header(header, value)
            self.end_headers()
            if with_body:
                shutil.copyfileobj(file, self.wfile, MIB)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep no record of who asked."""


def _opened(path: Path) -> BufferedReader:
    """Open a file of the kit. Links are not followed: they may lead out of the folder.

    Raises:
        OSError: it is a link, or as `open_regular`.
    """
    if path.is_symlink():
        raise OSError(f"{path}: a link")
    return open_regular(path)


def serve(folder: Path, port: int, lan: bool, ready: Callable[[str], None]) -> None:
    """Serve a web kit until the process is interrupted.

    Args:
        folder: the kit.
        port: 0 takes a free one.
        lan: answer the local network, too.
        ready: called with the address when the server answers.
    Raises:
        KitError: no web kit, or the port cannot be used.
    """
    server = make_server(folder, port, lan)
    with server:
        ready(f"http://{server.shown_host}:{server.server_port}/")
        server.serve_forever(poll_interval=0.2)


class Server(ThreadingHTTPServer):
    """The server, with the name or number by which browsers reach it."""

    daemon_threads = True
    shown_host = LOOPBACK
    # More wait in the system's queue: a connection that finds it full tries again only seconds later.
    request_queue_size = 2 * MAX_CONNECTIONS
    # Elsewhere than on Unix another program could take the same port.
    allow_reuse_address = os.name == "posix"

    def __init__(self, *arguments: Any) -> None:
        """Bind to the port; see `make_server`."""
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own; close one that is too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away before it had its answer."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def make_server(folder: Path, port: int, lan: bool) -> Server:
    """Return a server that is bound to its port; for arguments see `serve`."""
    if not (folder / PAGE).is_file() or not (folder / KIT).is_file():
        raise KitError(
            f"{shown(str(folder))}: no web kit, expected the folder that "
            "`pepr-edge kit --platform web --out` wrote."
        )
    links = [name for name in (PAGE, START, KIT) if (folder / name).is_symlink()]
    if links:
        raise KitError(
            f"{shown(str(folder))}: {links[0]} is a link, expected a file: others would get what it leads "
            "to. Copy the kit again."
        )
    host = lan_address() if lan else LOOPBACK
    names = frozenset({host, LOOPBACK, "localhost"})
    try:
        server = Server(("" if lan else LOOPBACK, port), partial(Handler, folder, names))
    except (OSError, OverflowError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "no such port"
        raise KitError(f"--port {port}: cannot be used ({reason}). Give another port.") from None
    server.shown_host = host
    return server


def lan_address() -> str:
    """Return the address of this machine on its local network.

    Raises:
        KitError: it is on none.
    """
    address = LOOPBACK
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ELSEWHERE, 9))  # of a datagram socket: sends nothing
            address = str(probe.getsockname()[0])
    except OSError:
        pass
    if ipaddress.ip_address(address).is_loopback:
        raise KitError("--lan: this machine is on no network. Connect it to one, or leave --lan out.")
    return address
