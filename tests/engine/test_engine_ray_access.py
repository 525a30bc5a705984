"""Who may reach a Ray that is started here, and clusters of other versions, which the driver refuses."""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pepr_edge import __version__
from pepr_edge.engine import ray_cluster
from pepr_edge.engine.ray_cluster import joined
from pepr_edge.errors import EngineError

ROOT = Path(__file__).resolve().parents[2]
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
# As Ray 2.60 words it.
OTHER_RAY = (
    "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.11.7\n"
    "This process on node 192.0.2.7 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
)


class RayError(Exception):
    """Like Ray's exception of this name."""


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module in the place of Ray, joined to a cluster without nodes."""
    ray = ModuleType("ray")
    parts = {
        "ray": ray,
        "ray.exceptions": SimpleNamespace(RayError=RayError),
        "ray.util": ModuleType("ray.util"),
        "ray.util.scheduling_strategies": SimpleNamespace(
            NodeAffinitySchedulingStrategy=lambda node, soft: node
        ),
    }
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, name, part)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", ray_cluster.LOOPBACK_ONLY[0]):
        monkeypatch.setenv(name, "")  # so that what is set is unset at the end
        monkeypatch.delenv(name)
    ray.init = lambda **options: None  # type: ignore[attr-defined]
    ray.shutdown = lambda: None  # type: ignore[attr-defined]
    ray.nodes = list  # type: ignore[attr-defined]
    return ray


@pytest.fixture
def address() -> Iterator[str]:
    """An address that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (OTHER_RAY, "it has Ray 2.9.0, here is 2.60.0"),
        (
            OTHER_RAY.replace("2.9.0", "2.60.0").replace("3.11.7", "3.10.1", 1),
            "it has Python 3.10.1, here is",
        ),
        ("Ran out of\npatience", "Ran out of"),
    ],
)
def test_a_cluster_that_ray_refuses_is_one_line(
    message: str, words: str, address: str, fake_ray: Any
) -> None:
    def refuse(**options: Any) -> None:
        raise RuntimeError(message)

    fake_ray.init = refuse
    with pytest.raises(EngineError) as fault, joined(address):
        pass
    assert words in str(fault.value)
    assert str(fault.value).count("\n") == 0


def answers(fake_ray: Any, *versions: Any) -> Any:
    """Let one node for each of these answer with it; a dead node asks nobody."""
    nodes = [{"Alive": True, "NodeID": f"n{n}", "NodeManagerAddress": f"h{n}"} for n in range(len(versions))]
    fake_ray.nodes = lambda: [*nodes, {"Alive": False, "NodeID": "gone", "NodeManagerAddress": "gone"}]

    def get(task: str) -> Any:
        answer = versions[int(task[1:])]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def options(**given: Any) -> Any:
        return SimpleNamespace(remote=lambda: given["scheduling_strategy"])

    fake_ray.remote = lambda function: SimpleNamespace(options=options)
    fake_ray.wait = lambda tasks, num_returns, timeout: (tasks, [])
    fake_ray.get = get
    return fake_ray


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.1.0", "the node h1 .* has pepr_edge 0.1.0"), (None, "the node h1 .* no pepr_edge")],
)
def test_a_node_with_another_pepr_edge_is_named(
    version: str | None, words: str, address: str, fake_ray: Any
) -> None:
    answers(fake_ray, __version__, version)
    with pytest.raises(EngineError, match=words) as fault, joined(address):
        pass
    assert str(fault.value).count("\n") == 0


def test_the_same_version_and_a_node_that_was_lost_are_accepted(address: str, fake_ray: Any) -> None:
    answers(fake_ray, __version__, RayError())
    with joined(address) as ray:
        assert ray is fake_ray
    assert "RAY_AUTH_TOKEN" not in os.environ  # the cluster's own counts


def test_ray_is_started_with_a_token_on_loopback(fake_ray: Any) -> None:
    given: dict[str, Any] = {}
    fake_ray.init = lambda **options: given.update(options)
    fake_ray.nodes = lambda: [{"NodeManagerAddress": "127.0.0.1"}]
    with joined(None):
        folder = Path(given["_temp_dir"]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
        assert os.environ[ray_cluster.LOOPBACK_ONLY[0]] == "0"
        assert given["include_dashboard"] is False
    assert not folder.exists()


def test_sigterm_stays_that_of_the_command(fake_ray: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    fake_ray.init = lambda **options: signal.signal(signal.SIGTERM, lambda number, frame: None)
    fake_ray.nodes = list
    with joined(None):
        assert signal.getsignal(signal.SIGTERM) == before


def test_a_ray_that_others_can_reach_is_not_used(fake_ray: Any) -> None:
    fake_ray.nodes = lambda: [{"NodeManagerAddress": "192.0.2.2"}]
    with pytest.raises(EngineError, match=r"192\.0\.2\.2"), joined(None):
        pass


STARTED_HERE = """
import sys
import psutil
from pepr_edge.engine.ray_cluster import joined
with joined(None) as ray:
    ray.get(ray.remote(lambda: 1).remote())
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [socket for process in processes for socket in process.net_connections("inet")]
    print(*{socket.laddr.ip for socket in sockets if socket.status == "LISTEN"}, file=sys.__stdout__)
"""
DRIVER = """
import sys
import ray
from pepr_edge.engine.ray_cluster import joined
from pepr_edge.errors import EngineError
{before}
try:
    with joined(sys.argv[1]):
        print("joined", file=sys.__stdout__)
except EngineError as fault:
    print(fault)
"""


def python(code: str, *words: str, cwd: Path, **environment: str) -> str:
    """Run code in a process of its own, as Ray reads its variables once; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@needs_ray
def test_a_ray_that_is_started_here_listens_on_loopback_alone(tmp_path: Path) -> None:
    addresses = python(STARTED_HERE, cwd=tmp_path)
    assert {address.removeprefix("::ffff:") for address in addresses.split()} == {"127.0.0.1"}


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("default")  # Ray's own
def test_a_driver_refuses_a_real_cluster_of_another_version(cluster: Any, tmp_path: Path) -> None:
    other = tmp_path / "other" / "pepr_edge"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("__version__ = '0.0.9'\n")
    other_python = "ray._private.utils.compute_version_info = lambda: (ray.__version__, '3.10.1')"
    cases = {
        "": "joined",
        "ray.__version__ = '2.9.0'": "here is 2.9.0",
        other_python: f"it has Python {platform.python_version()}, here is 3.10.1",
    }
    for before, words in cases.items():
        said = python(DRIVER.format(before=before), cluster.address, cwd=tmp_path)
        assert words in said
        assert said.count("\n") == 1
    cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(other.parent)})
    said = python(DRIVER.format(before=""), cluster.address, cwd=tmp_path)
    assert "has pepr_edge 0.0.9" in said
    assert said.count("\n") == 1
