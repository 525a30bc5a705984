"""What browsers and others send to `serve`, and folders that are no web kit."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_check import PLACES, Row, Run, Spoil, in_place, try_row

from pepr_edge.kit import serve
from pepr_edge.kit.check import PAGE, START
from pepr_edge.kit.install import KIT

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
SECRET = b"of the clinic"
PAGE_BYTES = b"<!doctype html>" * 100_000


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A web kit, with a file beside it and one in it that are nobody's."""
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / PAGE).write_bytes(PAGE_BYTES)
    (folder / START).write_text("start")
    (folder / KIT).write_text("{}")
    for path in (tmp_path / "secret.txt", folder / "secret.txt"):
        path.write_bytes(SECRET)
    return folder


@pytest.fixture
def port(kit: Path) -> Iterator[int]:
    """The port of a server of the kit."""
    server = serve.make_server(kit, 0, lan=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def asked(port: int, request: bytes) -> bytes:
    """Return the answer to a request, or what came of it until the server closed the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while block := client.recv(1 << 16):
                answer += block
        except OSError:  # the server may close the connection before it was told all
            return answer
    return answer


def get(path: str, *headers: str, host: str = "localhost", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


# A request, and the statuses of which it must get one; 0: none, or an answer as HTTP/0.9 gives it.
REQUESTS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "the page": (get("/"), (200,)),
    "the page with a query": (get("/?a=/../../secret.txt"), (200,)),
    **{
        f"the path {path[:40]!r}": (get(path), (404, 414, 400))
        for path in (
            "/secret.txt",
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/..%5csecret.txt",
            "/....//secret.txt",
            "//secret.txt",
            "/index.html/../secret.txt",
            "/index.html%00.txt",
            "/index.html/",
            "/kit.json",
            "/.pepr_edge/files.json",
            "file:///etc/passwd",
            "http://localhost/secret.txt",
            "/" + "a" * 60_000,
            "/" + "../" * 20_000,
            "secret.txt",
            "*",
        )
    },
    **{
        f"the host {host[:40]!r}": (get("/", host=host), (400, 403, 431))
        for host in (
            "",
            "elsewhere.example",
            "localhost.elsewhere.example",
            "127.0.0.1.elsewhere.example:80",
            "localhost@elsewhere.example",
            "elsewhere.example:localhost",
            "[::1]:80",
            "0.0.0.0",
            "localhost, elsewhere.example",
            "x" * 60_000,
            "\x1b[2J",
            "local\xadhost",
        )
    },
    "two hosts": (get("/", "Host: elsewhere.example"), (200, 400, 403)),
    "a line of 100,000 bytes": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", (414, 0)),
    "a header of 100,000 bytes": (get("/", "X: " + "a" * 100_000), (431, 0)),
    "10,000 headers": (get("/", *(f"X{n}: 1" for n in range(10_000))), (431, 0)),
    "a method of others": (get("/", method="POST"), (501,)),
    "a method of 1,000 letters": (get("/", method="X" * 1000), (501, 400)),
    "a body of a gigabyte, announced": (get("/", "Content-Length: 1000000000"), (200,)),
    "no words": (b"\r\n\r\n", (0, 400)),
    "one word": (b"GET\r\n\r\n", (0, 400)),
    "another version": (b"GET / HTTP/9.9\r\n\r\n", (0, 505, 400)),
    "a version of 5,000 digits": (b"GET / HTTP/1." + b"9" * 5000 + b"\r\n\r\n", (0, 400, 505)),
    "bytes": (bytes(range(256)) * 10, (400, 0)),
    "a greeting of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), (400, 0)),
    "nothing": (b"", (0,)),
    "a range": (get("/", "Range: bytes=0-999999999999"), (200,)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(name: str, port: int, capfd: pytest.CaptureFixture[str]) -> None:
    request, statuses = REQUESTS[name]
    answer = asked(port, request)
    head = answer.split(b"\r\n", 1)[0].split()
    assert (int(head[1]) if len(head) > 1 and head[1].isdigit() else 0) in statuses, answer[:300]
    assert SECRET not in answer
    assert get_page(port).endswith(PAGE_BYTES)
    assert capfd.readouterr() == ("", "")


def get_page(port: int) -> bytes:
    return asked(port, get("/"))


def test_clients_that_go_away_leave_no_word(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        client.sendall(get("/"))
        client.recv(100)
        client.close()
    time.sleep(0.1)
    assert get_page(port).endswith(PAGE_BYTES)
    assert capfd.readouterr() == ("", "")


def test_a_crowd_that_says_nothing_leaves_the_others_their_turn(port: int) -> None:
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(80)]
    deadline_s = time.monotonic() + 10
    for client in crowd:
        client.close()
    while not get_page(port).endswith(PAGE_BYTES):
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize("name", [PAGE, START])
def test_a_link_that_was_put_there_later_is_not_followed(name: str, kit: Path, port: int) -> None:
    in_place(lambda path: path.symlink_to(kit.parent / "secret.txt"))(kit / name)
    answer = asked(port, get(f"/{name}"))
    assert b" 404 " in answer
    assert SECRET not in answer


SERVE = ("serve", "{here}/kit", "--port", "0")


def to_secret(path: Path) -> None:
    path.symlink_to("../secret.txt")


FOLDERS: dict[str, tuple[str, Spoil, str]] = {
    **{
        f"{file}, {name}": (file, place, "kit")
        for file in (PAGE, KIT)
        for name, place in PLACES.items()
        if name
        in (
            "missing",
            "a pipe",
            "a folder",
            "a socket",
            "a link to zeros",
            "a link to nothing",
            "a link to itself",
            "a link to its folder",
        )
    },
    **{
        f"{file}, a link out of the folder": (file, in_place(to_secret), "a link")
        for file in (PAGE, START, KIT)
    },
    "a run directory": (
        KIT,
        in_place(lambda path: (path.parent / "run.json").write_text("{}")),
        "no web kit",
    ),
}
OPTIONS: dict[str, Row] = {
    "a port of -1": Row(("serve", "{here}/kit", "--port", "-1"), 2, "range"),
    "a port of 65536": Row(("serve", "{here}/kit", "--port", "65536"), 2, "range"),
    "a port of 400 digits": Row(("serve", "{here}/kit", "--port", "9" * 400), 2, "range"),
    "a file": Row(("serve", "{here}/secret.txt"), 1, "no web kit"),
    "nothing there": Row(("serve", "{here}/none"), 1, "no web kit"),
    "a name of 5,000 letters": Row(("serve", "x" * 5000), 1, ""),
    "a name with an escape sequence": Row(("serve", "{here}/\x1b[2J"), 1, "control characters"),
    "an empty name": Row(("serve", ""), 1, "empty"),
    "the root": Row(("serve", "/"), 1, "no web kit"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_no_kit(name: str, kit: Path, run: Run) -> None:
    file, spoil, word = FOLDERS[name]
    try_row(Row(SERVE, 1, word, f"kit/{file}", spoil), kit.parent, run)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_cannot_be(name: str, kit: Path, run: Run) -> None:
    try_row(OPTIONS[name], kit.parent, run)


def test_a_port_in_use(kit: Path, run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        try_row(Row(("serve", "{here}/kit", "--port", port), 1, "in use"), kit.parent, run)
