from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from pepr_edge.data import DataSettings, cache, load, prepare
from pepr_edge.errors import DataError, PeprError, RunError
from pepr_edge.records import DataInfo
from pepr_edge.run_dir.store import read_record

SETTINGS = DataSettings("phantom", 16, phantom_images=40)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_progress_counts_every_image_once(tmp_path):
    calls = []
    prepare(SETTINGS, tmp_path, lambda done, total: calls.append((done, total)))
    assert calls == [(number, 40) for number in range(1, 41)]


def test_files_are_as_promised(tmp_path):
    info = prepare(SETTINGS, tmp_path)
    others = {cache.SKIPPED, cache.DATA_CHECK, "source.txt", "info.json"}
    assert set(contents(tmp_path)) == {*cache.DATA_FILES, *others}
    assert read_record(tmp_path / "info.json", DataInfo) == info
    for split, facts in info.splits.items():
        pixels, labels = np.load(tmp_path / f"{split}_pixels.npy"), np.load(tmp_path / f"{split}_labels.npy")
        assert (pixels.dtype, pixels.shape) == (np.uint8, (facts.images, 16, 16, 1))
        assert labels.dtype == np.int64
        assert tuple(np.bincount(labels, minlength=2).tolist()) == facts.class_counts


def test_the_same_data_is_not_made_again(tmp_path, monkeypatch):
    first = prepare(SETTINGS, tmp_path)
    monkeypatch.setattr(cache, "open_source", lambda settings: pytest.fail("made again"))
    assert prepare(SETTINGS, tmp_path) == first


def test_other_settings_are_made_again(tmp_path):
    prepare(SETTINGS, tmp_path)
    prepare(DataSettings("phantom", 24, phantom_images=40), tmp_path)
    assert load(tmp_path).splits["train"][0].shape[1:] == (24, 24, 1)


@pytest.mark.parametrize("harm", ["info.json", "train_pixels.npy", "damaged info", "leftover"])
def test_a_half_made_folder_is_made_again(tmp_path, harm):
    prepare(SETTINGS, tmp_path)
    before = contents(tmp_path)
    if harm == "damaged info":
        (tmp_path / "info.json").write_text('{"name": ')
    elif harm == "leftover":
        (tmp_path / "info.json").unlink()
        (tmp_path / "train_pixels.npy").write_bytes(b"half")
        for number in (999_999_999, 10**20):  # no process has the second number
            (tmp_path / f".partial-{number}").mkdir()
            (tmp_path / f".partial-{number}" / "train_pixels.npy").write_bytes(b"half")
    else:
        (tmp_path / harm).unlink()
    prepare(SETTINGS, tmp_path)
    assert contents(tmp_path) == before


def test_failure_keeps_what_was_there(image_folder, tmp_path):
    settings = DataSettings(str(image_folder), 16)
    prepare(settings, tmp_path / "out")
    before = contents(tmp_path / "out")
    (image_folder / "cat" / "00.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"00\.png"):
        prepare(settings, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_death_while_files_are_replaced_is_not_taken_for_whole(tmp_path, monkeypatch):
    prepare(SETTINGS, tmp_path)
    other = DataSettings("phantom", 16, phantom_images=40, seed=1)
    replace = Path.replace

    def fail_at_val(path, target):
        if path.name.startswith("val"):
            raise OSError("power cut")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_at_val)
        with pytest.raises(OSError, match="power cut"):
            prepare(other, tmp_path)
    with pytest.raises(RunError):
        load(tmp_path)
    prepare(other, tmp_path)
    prepare(other, tmp_path / "fresh")
    np.testing.assert_array_equal(load(tmp_path).splits["val"][0], load(tmp_path / "fresh").splits["val"][0])


def test_interruption_leaves_nothing(tmp_path):
    def stop(done, total):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(SETTINGS, tmp_path / "out", stop)
    assert not list((tmp_path / "out").iterdir())


def test_memory_decides_between_arrays_and_maps(tmp_path, monkeypatch):
    prepare(SETTINGS, tmp_path)
    size_bytes = sum((tmp_path / f"{split}_pixels.npy").stat().st_size for split in ("train", "val", "test"))
    kinds, contents_by_kind = [], []
    for total in (4 * size_bytes, 4 * size_bytes - 1):
        monkeypatch.setattr(psutil, "virtual_memory", lambda total=total: SimpleNamespace(total=total))
        data = load(tmp_path)
        kinds.append({type(pixels) for pixels, _ in data.splits.values()})
        contents_by_kind.append({split: np.array(pixels) for split, (pixels, _) in data.splits.items()})
        if total < 4 * size_bytes:
            assert not data.splits["train"][0].flags.writeable
    assert kinds == [{np.ndarray}, {np.memmap}]
    for split in contents_by_kind[0]:
        np.testing.assert_array_equal(contents_by_kind[0][split], contents_by_kind[1][split])


def test_load_refuses_what_was_not_prepared(tmp_path):
    with pytest.raises(RunError, match=r"info\.json: no such file"):
        load(tmp_path)


@pytest.mark.parametrize("harm", ["gone", "damaged", "other"])
def test_load_refuses_files_that_do_not_fit(tmp_path, harm):
    prepare(SETTINGS, tmp_path)
    path = tmp_path / "val_pixels.npy"
    if harm == "gone":
        path.unlink()
    elif harm == "damaged":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        np.save(path, np.zeros((3, 16, 16, 1), np.uint8))
    with pytest.raises(PeprError, match="Delete the folder"):
        load(tmp_path)


def test_too_little_room_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match="0 MiB free, expected"):
        prepare(SETTINGS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_fraction_is_recorded_and_stratified(tmp_path):
    settings = DataSettings("phantom", 16, phantom_images=200, fraction=0.25)
    complete = prepare(DataSettings("phantom", 16, phantom_images=200), tmp_path / "complete")
    info = prepare(settings, tmp_path / "part")
    assert info.fraction == 0.25
    assert info.splits["test"] == complete.splits["test"]
    assert info.sha256 == complete.sha256
    for few, all_ in zip(
        info.splits["train"].class_counts, complete.splits["train"].class_counts, strict=True
    ):
        assert few == pytest.approx(all_ / 4, abs=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fraction": 0.0}, "fraction = 0, expected"),
        ({"fraction": 1.5}, r"fraction = 1\.5, expected"),
        ({"val_fraction": 1.0}, "val_fraction = 1, expected"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "less than 1"),
        ({"image_size_px": 4}, "image_size_px = 4"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_settings_out_of_range(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        prepare(DataSettings(**({"source": "phantom", "image_size_px": 16} | changes)), tmp_path)
