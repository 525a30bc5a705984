"""Which weights a run begins with: the order of the places, resumed runs, and what is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import made_records
import pytest
import torch
from safetensors.torch import save_file

from pepr_edge.errors import ModelError
from pepr_edge.recipe.settings import ResolvedCandidates
from pepr_edge.records import InitialWeights, RunInfo
from pepr_edge.run_dir.store import read_record, sha256_file, write_record, write_text
from pepr_edge.train.weights import hub, resolving
from pepr_edge.train.weights.finding import NOT_OFFERED
from pepr_edge.train.weights.hub import HubUnreachableError
from pepr_edge.train.weights.resolving import WeightsChoice, earlier_weights, resolve_weights, weights_line
from pepr_edge.zoo.pretrained import Pretrained, pretrained_weights

A, B, C = "dla46_c", "mobilenetv2_050", "mnasnet_100"
ONLY_256 = "eca_botnext26ts_256"
GONE = "huggingface.co cannot be reached: its name is not found"


class World:
    """The places where weights may be. `looks` and `downloads` are what was asked of the hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: str | None = GONE
        self.on_hub: set[str] = set()
        self.breaks_after = 99
        self.looks = 0
        self.downloads: list[str] = []

    def cached(self, pretrained: Pretrained) -> Path | None:
        path = self.folder / "cache" / pretrained.name
        return path if path.is_file() else None

    def look(self, look_s: float) -> str | None:
        self.looks += 1
        return self.fault

    def download(self, pretrained: Pretrained) -> Path:
        self.downloads.append(pretrained.name)
        if len(self.downloads) > self.breaks_after:
            raise HubUnreachableError(f"{pretrained.name}: no answer in time")
        if pretrained.name not in self.on_hub:
            raise ModelError(f"{pretrained.name}: the hub has no such weights")
        return self.put("cache", pretrained.name)

    def put(self, place: str, name: str) -> Path:
        path = self.folder / place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        return path


def timm_name(architecture: str) -> str:
    return pretrained_weights()[architecture].name


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(resolving, "in_cache", made.cached)
    monkeypatch.setattr(hub, "hub_fault", made.look)
    monkeypatch.setattr(hub, "download", made.download)
    return made


def candidates(*names: str, **changes: Any) -> ResolvedCandidates:
    values: dict[str, Any] = {"architectures": names, "image_size_px": (64,)}
    return ResolvedCandidates.model_validate(values | changes)


def kinds(choices: dict[str, WeightsChoice]) -> dict[str, tuple[str, str]]:
    return {name: (choice.record.kind, choice.record.source) for name, choice in choices.items()}


def records(choices: dict[str, WeightsChoice]) -> dict[str, InitialWeights]:
    return {name: choice.record for name, choice in choices.items()}


def test_auto_looks_into_folder_cache_and_hub_in_this_order(world: World) -> None:
    world.put("own", f"{A}.safetensors")
    for name in (A, B):
        world.put("cache", timm_name(name))
    world.fault = None
    world.on_hub = {timm_name(C)}
    found = resolve_weights(candidates(A, B, C, "dla46x_c", weights_dir=str(world.folder / "own")), {})
    assert kinds(found) == {
        f"{A}@64": ("pretrained", "weights_dir"),
        f"{B}@64": ("pretrained", "cache"),
        f"{C}@64": ("pretrained", "hub"),
        "dla46x_c@64": ("scratch", ""),
    }
    assert found[f"{B}@64"].record == InitialWeights(
        kind="pretrained",
        source="cache",
        name=timm_name(B),
        sha256=sha256_file(world.folder / "cache" / timm_name(B)),
        licence="apache-2.0",
        interpolation="bicubic",
    )
    assert found["dla46x_c@64"].record.reason == (
        "weights_dir has no .safetensors, .pth or .pt file of its name; "
        "dla46x_c.in1k: the hub has no such weights"
    )
    assert found[f"{A}@64"].path == world.folder / "own" / f"{A}.safetensors"
    assert found["dla46x_c@64"].path is None
    assert world.looks == 1


def test_offline_the_hub_is_looked_at_once_and_never_asked(world: World) -> None:
    found = resolve_weights(candidates(A, B, C), {})
    assert {choice.record.kind for choice in found.values()} == {"scratch"}
    assert {choice.record.reason for choice in found.values()} == {GONE}
    assert (world.looks, world.downloads) == (1, [])


def test_what_is_on_this_machine_needs_no_look(world: World) -> None:
    world.put("cache", timm_name(A))
    resolve_weights(candidates(A), {})
    resolve_weights(candidates(A, weights="scratch"), {})
    assert world.looks == 0


def test_after_a_connection_breaks_nothing_more_is_tried(world: World) -> None:
    world.fault = None
    world.on_hub = {timm_name(name) for name in (A, B, C)}
    world.breaks_after = 1
    found = resolve_weights(candidates(A, B, C), {})
    assert [choice.record.kind for choice in found.values()] == ["pretrained", "scratch", "scratch"]
    assert world.downloads == [timm_name(A), timm_name(B)]
    assert "no answer in time" in found[f"{C}@64"].record.reason


def test_pretrained_that_is_nowhere_is_an_error_on_one_line(world: World) -> None:
    world.put("cache", timm_name(B))
    with pytest.raises(ModelError, match=r"2 of 3 candidates") as caught:
        resolve_weights(candidates(A, B, C, weights="pretrained"), {})
    message = str(caught.value)
    assert "\n" not in message
    assert GONE in message
    assert f"{A}@64 and {C}@64" in message
    assert "weights fetch" in message
    assert 'weights = "auto"' in message


def test_scratch_and_a_file_are_taken_as_they_are(world: World) -> None:
    assert kinds(resolve_weights(candidates(A, weights="scratch"), {})) == {f"{A}@64": ("scratch", "")}
    path = world.put("own", "mine.pth")
    found = resolve_weights(candidates(A, weights=str(path)), {})[f"{A}@64"]
    assert (found.record.kind, found.record.name, found.path) == ("file", "mine.pth", path)
    assert found.record.interpolation == "bilinear"  # as timm's weights of this architecture
    with pytest.raises(ModelError, match="no such file"):
        resolve_weights(candidates(A, weights="none.pth"), {})


def test_the_name_and_licence_in_a_fetched_file_are_recorded(world: World) -> None:
    (world.folder / "own").mkdir()
    metadata = {"made_by": "pepr_edge", "pretrained_name": timm_name(A), "licence": "bsd-3-clause"}
    save_file({"a": torch.ones(1)}, world.folder / "own" / f"{A}.safetensors", metadata)
    found = resolve_weights(candidates(A, weights_dir=str(world.folder / "own")), {})[f"{A}@64"]
    assert (found.record.name, found.record.licence) == (timm_name(A), "bsd-3-clause")


def test_weights_for_one_size_are_taken_at_this_size_only(world: World) -> None:
    world.put("cache", timm_name(ONLY_256))
    found = resolve_weights(candidates(ONLY_256, image_size_px=(128, 256)), {})
    assert kinds(found) == {
        f"{ONLY_256}@128": ("scratch", ""),
        f"{ONLY_256}@256": ("pretrained", "cache"),
    }
    assert "256 px" in found[f"{ONLY_256}@128"].record.reason
    with pytest.raises(ModelError, match="256 px"):
        resolve_weights(candidates(ONLY_256, weights="pretrained"), {})


def test_weights_for_one_size_are_taken_when_a_run_changes_to_this_size(world: World) -> None:
    world.put("cache", timm_name(ONLY_256))
    before = resolve_weights(candidates(ONLY_256, image_size_px=(128,)), {})
    after = resolve_weights(candidates(ONLY_256, image_size_px=(256,)), records(before))
    assert kinds(after) == {f"{ONLY_256}@256": ("pretrained", "cache")}


def test_a_file_that_changed_on_the_hub_does_not_replace_what_a_run_began_with(world: World) -> None:
    """The training compares the hash, and says that it is another file."""
    world.fault = None
    world.on_hub = {timm_name(A)}
    before = resolve_weights(candidates(A), {})
    begun = before[f"{A}@64"].record.model_copy(update={"sha256": "0" * 64})
    shutil.rmtree(world.folder / "cache")
    after = resolve_weights(candidates(A), {f"{A}@64": begun})[f"{A}@64"]
    assert after.record == begun
    assert after.path is not None


def test_an_architecture_without_weights_is_trained_from_scratch(world: World) -> None:
    found = resolve_weights(candidates("resnet33ts_none"), {})
    assert next(iter(found.values())).record.reason == NOT_OFFERED
    assert world.looks == 0


def went_on(world: World, before: dict[str, WeightsChoice], **changes: Any) -> dict[str, WeightsChoice]:
    """The weights of a second call of the same run."""
    names = list(dict.fromkeys(name.partition("@")[0] for name in before))
    return resolve_weights(candidates(*names, **changes), records(before))


def test_a_run_that_began_offline_stays_from_scratch_when_the_network_is_back(world: World) -> None:
    before = resolve_weights(candidates(A, B), {})
    world.fault = None
    world.on_hub = {timm_name(A), timm_name(B)}
    world.put("cache", timm_name(A))
    assert records(went_on(world, before)) == records(before)
    assert (world.looks, world.downloads) == (1, [])


def test_a_run_that_began_online_stays_pretrained_without_a_network(world: World) -> None:
    world.fault = None
    world.on_hub = {timm_name(A), timm_name(B)}
    before = resolve_weights(candidates(A, B), {})
    world.fault = GONE
    after = went_on(world, before)
    assert after == before
    assert world.looks == 1
    # The cache was emptied: the records stay, and the files are asked for again.
    shutil.rmtree(world.folder / "cache")
    lost = went_on(world, before)
    assert records(lost) == records(before)
    assert all(choice.path is None for choice in lost.values())
    world.fault = None
    again = went_on(world, before)
    assert all(choice.path is not None for choice in again.values())
    assert [choice.record.sha256 for choice in again.values()] == [
        choice.record.sha256 for choice in before.values()
    ]


def test_files_in_the_folder_are_inputs_like_the_images(world: World) -> None:
    """A file that was put there since, or changed, counts; one that is gone keeps its record."""
    own = str(world.folder / "own")
    before = resolve_weights(candidates(A, weights_dir=own), {})
    path = world.put("own", f"{A}.pth")
    filled = went_on(world, before, weights_dir=own)
    assert kinds(filled) == {f"{A}@64": ("pretrained", "weights_dir")}
    path.write_bytes(b"changed")
    changed = went_on(world, filled, weights_dir=own)
    assert changed[f"{A}@64"].record.sha256 != filled[f"{A}@64"].record.sha256
    path.unlink()
    world.put("cache", timm_name(A))
    gone = went_on(world, changed, weights_dir=own)
    assert records(gone) == records(changed)
    assert gone[f"{A}@64"].path is None


RECIPE = """
name = "r"
device.name = "d"
candidates.architectures = ["dla46_c"]
"""


def begun(run_dir: Path, text: str, **changes: Any) -> None:
    write_text(run_dir / "recipe.toml", text)
    write_record(run_dir / "run.json", made_records.info("small").model_copy(update=changes))


def test_the_weights_of_an_earlier_call_are_read(tmp_path: Path) -> None:
    wanted = candidates(A)
    assert earlier_weights(tmp_path, wanted) == {}
    kept = {"small@64": InitialWeights(kind="scratch", reason=GONE)}
    begun(tmp_path, RECIPE, weights=kept)
    assert earlier_weights(tmp_path, wanted) == kept
    assert earlier_weights(tmp_path, candidates(A, weights="pretrained")) == {}
    (tmp_path / "recipe.toml").unlink()
    assert earlier_weights(tmp_path, wanted) == {}


@pytest.mark.parametrize("weights", ["scratch", "pretrained"])
def test_a_run_directory_of_version_0_1_has_what_its_candidates_say(tmp_path: Path, weights: str) -> None:
    begun(tmp_path, RECIPE)
    info = read_record(tmp_path / "run.json", RunInfo)
    of_0_1 = tuple(one.model_copy(update={"weights": weights}) for one in info.candidates)
    write_record(tmp_path / "run.json", info.model_copy(update={"candidates": of_0_1}))
    found = earlier_weights(tmp_path, candidates(A))
    assert {record.kind for record in found.values()} == {weights}
    assert {(record.sha256, record.interpolation) for record in found.values()} == {(None, None)}


def test_one_line_says_what_the_candidates_begin_with(world: World) -> None:
    offline = records(resolve_weights(candidates(A, B), {}))
    line = weights_line(offline, candidates(A, B))
    assert line == f"initial weights: 2 from scratch ({A}@64 and {B}@64): {GONE}"
    world.put("cache", timm_name(A))
    mixed = records(resolve_weights(candidates(A, B), {}))
    line = weights_line(mixed, candidates(A, B))
    assert line == (
        f"initial weights: 1 of 2 candidates pretrained (1 from the cache); 1 from scratch ({B}@64): {GONE}"
    )
    both = records(resolve_weights(candidates(B, "resnet33ts_none"), {}))
    assert weights_line(both, candidates(B, "resnet33ts_none")) == (
        f"initial weights: 1 from scratch ({B}@64): {GONE}; "
        f"1 from scratch (resnet33ts_none@64): {NOT_OFFERED}"
    )
    assert weights_line(offline, candidates(A, B, weights="scratch")) is None
    assert weights_line(offline, candidates(A, B, weights="mine.pth")) is None


def test_many_names_are_counted(world: World) -> None:
    names = list(pretrained_weights())[:7]
    line = weights_line(records(resolve_weights(candidates(*names), {})), candidates(*names))
    assert line is not None
    assert "and 3 more" in line


def test_progress_is_reported_for_files_of_the_hub(world: World) -> None:
    world.fault = None
    seen: list[tuple[int, int, str]] = []

    def report(done: int, total: int, name: str) -> None:
        seen.append((done, total, name))

    resolve_weights(candidates(A, B), {}, report)
    assert seen == [(0, 2, A), (1, 2, B)]
