"""A look at the hub is short whatever the network does, and a download says what failed."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest
from hub_server import Hub

from pepr_edge.errors import ModelError
from pepr_edge.train.weights import hub
from pepr_edge.train.weights.hub import HubUnreachableError, download, hub_fault
from pepr_edge.zoo.pretrained import Pretrained

OFFERED = Pretrained("x.in1k", "bicubic", "mit", "timm/x.in1k")
SAFE = "timm/x.in1k/resolve/main/model.safetensors"
OLD = "timm/x.in1k/resolve/main/pytorch_model.bin"


@pytest.fixture
def own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with hub_server.serve() as running:
        hub_server.use(monkeypatch, running.url, str(tmp_path / "cache"))
        yield running


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        hub_server.use(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}", str(tmp_path))
        yield


def test_a_hub_that_answers_has_no_fault(own_hub: Hub) -> None:
    assert hub_fault() is None
    assert own_hub.requests == ["HEAD /"]


def test_a_closed_port_is_known_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    hub_server.use(monkeypatch, f"http://127.0.0.1:{port}", str(tmp_path))
    started_s = time.perf_counter()
    assert hub_fault() == "127.0.0.1 cannot be reached: the connection is refused"
    assert time.perf_counter() - started_s < 5


@pytest.mark.usefixtures("silent")
def test_a_hub_that_does_not_answer_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ANSWER_SHARE", 0.2)
    started_s = time.perf_counter()
    assert hub_fault() == "127.0.0.1 cannot be reached: no answer in time"
    assert time.perf_counter() - started_s < 5


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_look", lambda url, answer_s: str(released.wait(30)))
    started_s = time.perf_counter()
    fault = hub_fault(look_s=0.1)
    released.set()
    assert fault == "huggingface.co does not answer within 0.1 s"
    assert time.perf_counter() - started_s < 5
    assert hub.LOOK_S < 2


def test_a_name_that_is_not_found_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub_server.use(monkeypatch, "http://no-such-host.invalid", str(tmp_path))
    assert hub_fault() == "no-such-host.invalid cannot be reached: its name is not found"


def test_the_user_s_wish_to_stay_offline_is_kept(monkeypatch: pytest.MonkeyPatch, own_hub: Hub) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_fault() == "HF_HUB_OFFLINE is set"
    assert own_hub.requests == []


def test_a_refusal_in_the_place_of_the_hub_is_a_fault(own_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    portal = f"{own_hub.url}/portal"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", portal)
    monkeypatch.setattr(hub, "HUB", portal)
    assert hub_fault() == "127.0.0.1 cannot be reached: status 404"


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (200, None),
        (401, None),
        (404, None),
        (405, None),
        (429, "mirror.invalid cannot be reached: status 429"),
        (503, "mirror.invalid cannot be reached: status 503"),
    ],
)
def test_a_mirror_is_reached_if_it_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, fault: str | None
) -> None:
    hub_server.use(monkeypatch, "http://mirror.invalid/files", str(tmp_path))
    monkeypatch.setattr(hub, "_status", lambda url, timeout_s: status)
    assert hub_fault() == fault


def test_a_download_on_purpose_waits_longer_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def fault(look_s: float) -> str:
        waits.append(look_s)
        return "not today"

    monkeypatch.setattr(hub, "hub_fault", fault)
    for connection in (hub.Connection(), hub.Connection(hub.PATIENT_LOOK_S)):
        with pytest.raises(HubUnreachableError, match="not today"):
            connection.download(OFFERED)
    assert waits == [hub.LOOK_S, hub.PATIENT_LOOK_S]


@pytest.mark.parametrize("path", [SAFE, OLD])
def test_a_file_is_downloaded_into_the_cache(own_hub: Hub, tmp_path: Path, path: str) -> None:
    own_hub.files[path] = b"weights"
    found = download(OFFERED)
    assert found.read_bytes() == b"weights"
    assert found.is_relative_to(tmp_path / "cache")
    assert found.name == Path(path).name


def test_weights_that_the_hub_lacks_are_an_error_of_these_weights(own_hub: Hub) -> None:
    with pytest.raises(ModelError, match=r"x\.in1k: the hub has no such weights") as caught:
        download(OFFERED)
    assert not isinstance(caught.value, HubUnreachableError)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_does_not_count_as_one_without_the_weights(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(hub, "_status", lambda url, timeout_s: status)
    with pytest.raises(HubUnreachableError, match=rf"^x\.in1k: .+{status}"):
        download(OFFERED)


def test_a_connection_that_breaks_is_an_error_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    hub_server.use(monkeypatch, f"http://127.0.0.1:{port}", str(tmp_path))
    started_s = time.perf_counter()
    with pytest.raises(HubUnreachableError, match=r"^x\.in1k: ") as caught:
        download(OFFERED)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - started_s < 10


def test_weights_with_a_url_are_checked_against_their_name(
    own_hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    good_name = f"y-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    for name in (good_name, "y-00000000.pth"):
        own_hub.files[name] = b"weights"
    of_url = Pretrained("y.in1k", "bicubic", "mit", "", url=f"{own_hub.url}/{good_name}")
    assert download(of_url).read_bytes() == b"weights"
    other = Pretrained("y.in1k", "bicubic", "mit", "", url=f"{own_hub.url}/y-00000000.pth")
    with pytest.raises(ModelError, match="not the file that timm names"):
        download(other)
    assert not (tmp_path / "hub" / "checkpoints" / "y-00000000.pth").exists()


@pytest.mark.parametrize("name", ["IN1K-vit.h.14-300e.pth.tar", "plain.pth"])
def test_weights_whose_name_holds_no_hash_are_taken(
    own_hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    own_hub.files[name] = b"weights"
    of_url = Pretrained("y.in1k", "bicubic", "mit", "", url=f"{own_hub.url}/{name}")
    assert download(of_url).read_bytes() == b"weights"
