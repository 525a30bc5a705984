"""Measuring on another node: the node's side without Ray; both sides on a cluster if Ray is installed."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from pepr_edge.device.facts import here
from pepr_edge.engine import ray, ray_host, ray_task
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.engine.ray_host import Node, node_with
from pepr_edge.errors import EngineError, MeasurementError, RecipeError
from pepr_edge.recipe import Device, Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import DeviceProfile, ProfileRequest, SessionSettings
from pepr_edge.run_dir.store import sha256_file

LABEL = "clinic_laptop"
SETTINGS = SessionSettings(threads=1)
installed = importlib.util.find_spec("ray") is not None


def nodes(*known: tuple[str, bool, dict[str, float]]) -> Any:
    """Return a Ray with these nodes: id, alive, resources."""
    return SimpleNamespace(
        nodes=lambda: [{"NodeID": id, "Alive": alive, "Resources": has} for id, alive, has in known]
    )


def test_the_first_living_node_with_the_resource_is_the_device() -> None:
    has = {"CPU": 4.0, LABEL: 1.0}
    node = node_with(
        nodes(("d", True, has), ("a", False, has), ("b", True, {"CPU": 8.0}), ("c", True, has)), LABEL
    )
    assert node.id == "c"


def test_a_resource_that_no_node_has_is_one_line_with_the_remedy() -> None:
    with pytest.raises(EngineError, match="no node") as fault:
        node_with(nodes(("a", True, {"CPU": 8.0})), LABEL)
    assert """ray start --address HEAD:PORT --resources '{"clinic_laptop": 1}'""" in str(fault.value)


class NodeDiedError(Exception):
    """Like Ray's exception of this name, which cannot be constructed here."""


@pytest.mark.parametrize(("alive", "fault"), [(False, TimeoutError()), (True, NodeDiedError("at 192.0.2.1"))])
def test_a_node_that_was_lost_stops_the_run(alive: bool, fault: Exception) -> None:
    gone = Node(nodes(("a", alive, {}), ("b", True, {})), "a", {}, LABEL)
    with pytest.raises(EngineError, match=r"clinic_laptop was lost"):
        gone.check(fault)


def test_a_lost_process_on_a_living_node_does_not_stop_the_run() -> None:
    Node(nodes(("a", True, {})), "a", {}, LABEL).check(TimeoutError())


def recipe_text(label: str) -> str:
    return f"""
name = "x"
[device]
name = "d"
[candidates]
architectures = ["a"]
[cluster]
device_resource = "{label}"
"""


@pytest.mark.parametrize("name", ["CPU", "memory", "a b", "node:1", ""])
def test_a_resource_name_that_ray_uses_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"cluster\.device_resource"):
        parse(recipe_text(name), Recipe, "x.toml")


def test_a_node_reports_its_machine_unless_its_version_or_provider_is_wrong() -> None:
    device = Device(name="d").model_dump_json()
    assert ray_host._machine(ray_task.__version__, device) == here().model_dump_json()
    with pytest.raises(EngineError, match="Install the same on all nodes"):
        ray_host._machine("0.0.0", device)
    with pytest.raises(EngineError, match=r"on the node that is to measure: device\.provider"):
        ray_host._machine(ray_task.__version__, Device(name="d", provider="directml").model_dump_json())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.write(tmp_path_factory.mktemp("bundle") / "one") / "model.onnx"


def request(sha256: str, settings: SessionSettings = SETTINGS) -> ProfileRequest:
    shape = (1, 1, tiny_bundle.PX, tiny_bundle.PX)
    return ProfileRequest(
        sha256=sha256, settings=settings, rules="look", input_shape=shape, watts_per_core=5.0
    )


def measured_on_node(model: Path, sha256: str) -> list[tuple[float, float] | str]:
    contents = {model.name: np.fromfile(model, np.uint8)}
    return list(ray_host._profile(model.name, contents, request(sha256).model_dump_json()))


def test_a_file_is_measured_on_the_node_and_removed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_task.tempfile, "gettempdir", lambda: str(tmp_path))  # type: ignore[attr-defined]
    monkeypatch.setattr(ray_task, "STEP_PERIOD_S", 0.05)
    *readings, last = measured_on_node(model, sha256_file(model))
    profile = DeviceProfile.model_validate_json(str(last))
    assert (profile.artifact_sha256, profile.rules, profile.device.machine) == (
        sha256_file(model),
        "look",
        here(),
    )
    assert profile.energy_j_per_inference.method == "declared"
    assert readings
    assert all(0 <= share <= 1 and median_s > 0 for share, median_s in readings)  # type: ignore[misc]
    assert not list(tmp_path.iterdir())


def test_a_file_with_another_checksum_is_refused(model: Path) -> None:
    with pytest.raises(MeasurementError, match="the file was altered"):
        measured_on_node(model, "0" * 64)


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_a_task_takes_the_whole_node() -> None:
    options = Node(nodes(), "a" * 56, {"CPU": 4.0, "GPU": 1.0, LABEL: 2.0, "memory": 9.0}, LABEL).options()
    where = options.pop("scheduling_strategy")
    assert (where.node_id, where.soft) == ("a" * 56, False)
    assert options == {
        "num_cpus": 4.0,
        "num_gpus": 1.0,
        "resources": {LABEL: 2.0},
        "max_retries": 0,
        "name": "pepr_edge",
    }


@pytest.mark.skipif(not installed, reason="Ray is not installed")
@pytest.mark.parametrize(
    ("runtime", "names"), [("pytorch", ["model.onnx", "program.pt2"]), ("onnxruntime", ["model.onnx"])]
)
def test_the_program_is_sent_if_pytorch_runs_it(runtime: str, names: list[str], tmp_path: Path) -> None:
    """Also: an interrupted measurement is cancelled."""
    sent, cancelled = list[Any](), list[str]()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def remote(*words: Any) -> str:
        sent.extend(words)
        return "task"

    calls = iter((interrupted, lambda *_, **__: ([], [])))
    task = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=remote))
    fake = SimpleNamespace(
        remote=lambda work: task,
        wait=lambda *words, **more: next(calls)(*words, **more),
        cancel=cancelled.append,
    )
    for name in ("model.onnx", "program.pt2"):
        (tmp_path / name).write_bytes(name.encode())
    node = Node(fake, "a" * 56, {"CPU": 1.0, LABEL: 1.0}, LABEL)
    with pytest.raises(KeyboardInterrupt):
        node.profile(tmp_path / "model.onnx", request("0" * 64, SessionSettings(runtime=runtime)))
    assert (sent[0], sorted(sent[1]), cancelled) == ("model.onnx", names, ["task"])


@pytest.fixture
def device(cluster: Any) -> Any:
    """A node with the resource, whose processor has another name; there is one more node."""
    cluster.add_node(num_cpus=2)
    return cluster.add_node(num_cpus=1, resources={LABEL: 1}, env_vars={"PEPR_EDGE_EMULATED": "the device"})


@pytest.fixture
def host(cluster: Any, device: Any) -> Iterator[MeasurementHost]:
    recipe = parse(recipe_text(LABEL), Recipe, "x.toml")
    with ray.opened(recipe, None, cluster.address, lambda job, reason: None) as (_, host):
        yield host


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_measurements_run_alone_on_the_node_of_the_device(
    host: MeasurementHost, cluster: Any, device: Any, model: Path
) -> None:
    import ray as module

    free = list[float]()
    sha256 = sha256_file(model)
    temporary = Path(tempfile.gettempdir())
    before = set(temporary.glob(f"{ray_task.PREFIX}*"))  # of nodes that were killed

    def measured(sha256: str, progress: Callable[[float, float], None]) -> DeviceProfile:
        return host.profile(model, request(sha256), progress)

    assert host.machine.cpu == f"{here().cpu} (the device)"
    profile = measured(
        sha256, lambda share, median_s: free.append(module.available_resources().get("CPU", 0))
    )
    assert (profile.artifact_sha256, profile.device.machine) == (sha256, host.machine)
    assert set(free) == {2.0}  # those of the other node
    assert set(temporary.glob(f"{ray_task.PREFIX}*")) <= before
    with pytest.raises(MeasurementError, match="the file was altered"):
        measured("0" * 64, lambda share, median_s: None)

    def kill(share: float, median_s: float) -> None:
        if device in cluster.worker_nodes:
            cluster.remove_node(device, allow_graceful=False)

    with pytest.raises(EngineError, match="the node that carries clinic_laptop was lost"):
        measured(sha256, kill)
