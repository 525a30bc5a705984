"""Measuring on another node: its own side without Ray, and both on a cluster of this machine where Ray is installed."""

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
from pepr_edge.records import DeviceProfile, SessionSettings
from pepr_edge.run_dir.store import sha256_file

LABEL = "clinic_laptop"
installed = importlib.util.find_spec("ray") is not None


def nodes(*found: tuple[str, bool, dict[str, float]]) -> Any:
    """A Ray that knows of these nodes: their ids, whether they are alive, what they have."""
    return SimpleNamespace(
        nodes=lambda: [{"NodeID": id, "Alive": alive, "Resources": has} for id, alive, has in found]
    )


def test_the_first_living_node_that_carries_the_resource_is_the_device() -> None:
    has = {"CPU": 4.0, LABEL: 1.0}
    found = node_with(
        nodes(("d", True, has), ("a", False, has), ("b", True, {"CPU": 8.0}), ("c", True, has)), LABEL
    )
    assert found.id == "c"


def test_a_resource_that_no_node_carries_is_one_line_that_says_how_to_give_it() -> None:
    with pytest.raises(EngineError, match="no node of the cluster carries it") as fault:
        node_with(nodes(("a", True, {"CPU": 8.0})), LABEL)
    assert """ray start --address HEAD:PORT --resources '{"clinic_laptop": 1}'""" in str(fault.value)


class NodeDiedError(Exception):
    """As Ray's of that name, which is not to be made by hand."""


@pytest.mark.parametrize(("alive", "fault"), [(False, TimeoutError()), (True, NodeDiedError("at 192.0.2.1"))])
def test_a_node_that_was_lost_stops_the_run(alive: bool, fault: Exception) -> None:
    gone = Node(nodes(("a", alive, {}), ("b", True, {})), "a", {}, LABEL)
    with pytest.raises(
        EngineError, match=r"^the node that carries clinic_laptop was lost\..*the same command goes on"
    ):
        gone.check(fault)


def test_a_process_that_was_lost_on_a_node_that_lives_stops_nothing() -> None:
    Node(nodes(("a", True, {})), "a", {}, LABEL).check(TimeoutError())


@pytest.mark.parametrize("name", ["CPU", "memory", "a b", "node:1", ""])
def test_what_is_no_resource_of_ones_own_is_refused(name: str) -> None:
    text = f'name = "x"\n[device]\nname = "d"\n[candidates]\narchitectures = ["a"]\n[cluster]\ndevice_resource = "{name}"\n'
    with pytest.raises(RecipeError, match=r"cluster\.device_resource"):
        parse(text, Recipe, "x.toml")


def test_the_node_says_what_it_is_unless_it_has_another_version_or_not_what_it_takes() -> None:
    device = Device(name="d").model_dump_json()
    assert ray_host._machine(ray_task.__version__, device) == here().model_dump_json()
    with pytest.raises(EngineError, match="Install the same on all nodes"):
        ray_host._machine("0.0.0", device)
    with pytest.raises(EngineError, match=r"on the node that is to measure: device\.provider"):
        ray_host._machine(ray_task.__version__, Device(name="d", provider="directml").model_dump_json())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.write(tmp_path_factory.mktemp("bundle") / "one") / "model.onnx"


def how(model: Path, sha256: str = "") -> ray_host._How:
    shape = (1, 1, tiny_bundle.PX, tiny_bundle.PX)
    return ray_host._How(
        sha256 or sha256_file(model), SessionSettings(threads=1).model_dump_json(), "look", shape, 5.0
    )


def test_a_file_is_measured_on_the_node_and_nothing_of_it_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_task.tempfile, "gettempdir", lambda: str(tmp_path))  # type: ignore[attr-defined]
    monkeypatch.setattr(ray_task, "BLINK_S", 0.05)
    *readings, told = ray_host._profile(model.name, {model.name: np.fromfile(model, np.uint8)}, how(model))
    found = DeviceProfile.model_validate_json(str(told))
    assert (found.artifact_sha256, found.rules, found.device.machine) == (sha256_file(model), "look", here())
    assert found.energy_j_per_inference.method == "declared"
    assert readings
    assert all(0 <= share <= 1 and median_s > 0 for share, median_s in readings)  # type: ignore[misc]
    assert not list(tmp_path.iterdir())


def test_a_file_that_changed_on_its_way_is_refused(model: Path) -> None:
    with pytest.raises(MeasurementError, match="the file was altered"):
        list(ray_host._profile(model.name, {model.name: np.fromfile(model, np.uint8)}, how(model, "0" * 64)))


@pytest.mark.skipif(not installed, reason="Ray is not installed")
def test_a_task_has_the_node_for_itself() -> None:
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
def test_the_program_travels_where_that_is_what_runs(runtime: str, names: list[str], tmp_path: Path) -> None:
    """And a measurement that is given up is cancelled."""
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
        node.profile(
            tmp_path / "model.onnx",
            "",
            SessionSettings(runtime=runtime),
            rules="look",
            input_shape=(1, 1, 8, 8),
        )
    assert (sent[0], sorted(sent[1]), cancelled) == ("model.onnx", names, ["task"])


@pytest.fixture
def device(cluster: Any) -> Any:
    """A node that carries the resource, whose processor says of itself that it is another; there is one more node."""
    cluster.add_node(num_cpus=2)
    return cluster.add_node(num_cpus=1, resources={LABEL: 1}, env_vars={"PEPR_EDGE_EMULATED": "the device"})


@pytest.fixture
def bench(cluster: Any, device: Any) -> Iterator[MeasurementHost]:
    text = f'name = "x"\n[device]\nname = "d"\n[candidates]\narchitectures = ["a"]\n[cluster]\ndevice_resource = "{LABEL}"\n'
    with ray.opened(parse(text, Recipe, "x.toml"), None, cluster.address, lambda job, reason: None) as (
        _,
        found,
    ):
        yield found


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_what_is_measured_is_measured_on_the_devices_node_and_alone_there(
    bench: MeasurementHost, cluster: Any, device: Any, model: Path
) -> None:
    import ray as module

    free, asked, temporary = list[float](), how(model), Path(tempfile.gettempdir())
    before = set(temporary.glob(f"{ray_task.PREFIX}*"))  # of nodes that were killed

    def measured(sha256: str, progress: Callable[[float, float], None]) -> DeviceProfile:
        settings = SessionSettings(threads=1)
        return bench.profile(
            model, sha256, settings, rules="look", input_shape=asked.input_shape, progress=progress
        )

    assert bench.machine.cpu == f"{here().cpu} (the device)"
    found = measured(
        asked.sha256, lambda share, median_s: free.append(module.available_resources().get("CPU", 0))
    )
    assert (found.artifact_sha256, found.device.machine) == (asked.sha256, bench.machine)
    assert set(free) == {2.0}  # those of the other node
    assert set(temporary.glob(f"{ray_task.PREFIX}*")) <= before
    with pytest.raises(MeasurementError, match="the file was altered"):
        measured("0" * 64, lambda share, median_s: None)

    def kill(share: float, median_s: float) -> None:
        if device in cluster.worker_nodes:
            cluster.remove_node(device, allow_graceful=False)

    with pytest.raises(EngineError, match="the node that carries clinic_laptop was lost"):
        measured(asked.sha256, kill)
