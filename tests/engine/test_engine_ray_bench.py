"""Measuring on another node: its own side without Ray, and both on a cluster of this machine where Ray is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from pepr_edge.engine import ray, ray_bench, ray_task
from pepr_edge.engine.bench import Bench
from pepr_edge.engine.ray_bench import Node, node_with
from pepr_edge.errors import EngineError, MeasurementError, RecipeError
from pepr_edge.field.facts import here
from pepr_edge.recipe import Device, Recipe
from pepr_edge.records import DeviceProfile, SessionSettings
from pepr_edge.store import sha256_file
from pepr_edge.toml import parse

LABEL = "clinic_laptop"
installed = importlib.util.find_spec("ray") is not None


def nodes(*found: tuple[str, bool, dict[str, float]]) -> Any:
    """A Ray that knows of these nodes: their ids, whether they are alive, what they have."""
    return SimpleNamespace(nodes=lambda: [{"NodeID": id, "Alive": alive, "Resources": has} for id, alive, has in found])


def test_the_first_living_node_that_carries_the_resource_is_the_device() -> None:
    has = {"CPU": 4.0, LABEL: 1.0}
    found = node_with(nodes(("d", True, has), ("a", False, has), ("b", True, {"CPU": 8.0}), ("c", True, has)), LABEL)
    assert (found.id, found.threads) == ("c", 4)


def test_a_resource_that_no_node_carries_is_one_line_that_says_how_to_give_it() -> None:
    with pytest.raises(EngineError, match="no node of the cluster carries it") as fault:
        node_with(nodes(("a", True, {"CPU": 8.0})), LABEL)
    assert """ray start --address HEAD:PORT --resources '{"clinic_laptop": 1}'""" in str(fault.value)


class NodeDiedError(Exception):
    """As Ray's of that name, which is not to be made by hand."""


@pytest.mark.parametrize(("alive", "fault"), [(False, TimeoutError()), (True, NodeDiedError("at 192.0.2.1"))])
def test_a_node_that_was_lost_stops_the_run(alive: bool, fault: Exception) -> None:
    gone = Node(nodes(("a", alive, {}), ("b", True, {})), "a", {}, LABEL)
    with pytest.raises(EngineError, match=r"^the node that carries clinic_laptop was lost\..*the same command goes on"):
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
    assert ray_bench._machine(ray_task.__version__, device) == here().model_dump_json()
    with pytest.raises(EngineError, match="Install the same on all nodes"):
        ray_bench._machine("0.0.0", device)
    with pytest.raises(EngineError, match=r"on the node that is to measure: device\.provider"):
        ray_bench._machine(ray_task.__version__, Device(name="d", provider="directml").model_dump_json())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.write(tmp_path_factory.mktemp("bundle") / "one") / "model.onnx"


def how(model: Path, sha256: str = "") -> ray_bench._How:
    shape = (1, 1, tiny_bundle.PX, tiny_bundle.PX)
    return ray_bench._How(sha256 or sha256_file(model), SessionSettings(threads=1).model_dump_json(), "look", shape, 5.0)


def test_a_file_is_measured_on_the_node_and_nothing_of_it_stays(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_task.tempfile, "gettempdir", lambda: str(tmp_path))  # type: ignore[attr-defined]
    monkeypatch.setattr(ray_task, "BLINK_S", 0.05)
    *readings, told = ray_bench._profile(np.fromfile(model, np.uint8), how(model))
    found = DeviceProfile.model_validate_json(str(told))
    assert (found.artifact_sha256, found.rules, found.device.machine) == (sha256_file(model), "look", here())
    assert found.energy_j_per_inference.method == "declared"
    assert readings
    assert all(0 <= share <= 1 and median_s > 0 for share, median_s in readings)  # type: ignore[misc]
    assert not list(tmp_path.iterdir())


def test_a_file_that_changed_on_its_way_is_refused(model: Path) -> None:
    with pytest.raises(MeasurementError, match="the file was altered"):
        list(ray_bench._profile(np.fromfile(model, np.uint8), how(model, "0" * 64)))


@pytest.fixture
def bench(cluster: Any) -> Iterator[Bench]:
    """The node that carries the resource, of two."""
    cluster.add_node(num_cpus=2)
    cluster.add_node(num_cpus=2, resources={LABEL: 1})
    text = f'name = "x"\n[device]\nname = "d"\n[candidates]\narchitectures = ["a"]\n[cluster]\ndevice_resource = "{LABEL}"\n'
    with ray.opened(parse(text, Recipe, "x.toml"), None, cluster.address, lambda job, reason: None) as (_, found):
        yield found


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own
def test_what_is_measured_is_measured_on_the_devices_node(bench: Bench, model: Path) -> None:
    asked, told = how(model), list[tuple[float, float]]()

    def measured(sha256: str) -> DeviceProfile:
        return bench.profile(
            model,
            sha256,
            SessionSettings(threads=1),
            rules="look",
            input_shape=asked.input_shape,
            progress=lambda share, median_s: told.append((share, median_s)),
        )

    assert (bench.machine, bench.engine.threads) == (here(), 2)
    assert measured(asked.sha256).artifact_sha256 == asked.sha256
    with pytest.raises(MeasurementError, match="the file was altered"):
        measured("0" * 64)
