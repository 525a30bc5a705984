"""Hand a web kit to browsers: a small server for one folder, on this machine or on the local network.

Nothing but the files of the kit is served, and nothing is stored. The two headers let a page on this machine
use several threads. Browsers give threads to no page of another machine without TLS.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pepr_edge.errors import KitError
from pepr_edge.kit.check import PAGE, START
from pepr_edge.kit.install import KIT
from pepr_edge.untrusted.files import content

LOOPBACK = "127.0.0.1"
LIMIT_BYTES = 1 << 31
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
            body = content(self._folder / name, LIMIT_BYTES)
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[Path(name).suffix])
        self.send_header("Content-Length", str(len(body)))
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep no record of who asked."""


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


def make_server(folder: Path, port: int, lan: bool) -> Server:
    """Return a server that is bound to its port; for arguments see `serve`."""
    if not (folder / PAGE).is_file() or not (folder / KIT).is_file():
        raise KitError(
            f"{folder}: no web kit, expected the folder that `pepr-edge kit --platform web --out` wrote."
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
