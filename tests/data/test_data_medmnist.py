import hashlib
import io
import shutil
import socket
import zipfile

import numpy as np
import pytest
from made_tasks import multilabel_npz
from PIL import Image

from pepr_edge.data import DataSettings, load, medmnist, prepare
from pepr_edge.data.medmnist_sets import INFO, url
from pepr_edge.errors import DataError
from pepr_edge.images.preprocess import to_pixels

COUNTS = {"train": 12, "val": 4, "test": 6}


def arrays(shape=(9, 11), column=True):
    rng = np.random.default_rng(0)
    held = {}
    for split, count in COUNTS.items():
        held[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        labels = (np.arange(count) % 2).astype(np.uint8)
        held[f"{split}_labels"] = labels[:, None] if column else labels
    return held


def save(path, **held):
    np.savez_compressed(path, **held)
    return DataSettings(str(path), 16)


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train_images.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize(("shape", "channels"), [((9, 11), 1), ((9, 11, 3), 3), ((9, 11, 1), 1)])
def test_pixels_and_labels_by_path(tmp_path, shape, channels):
    held = arrays(shape, column=channels == 1)
    info = prepare(save(tmp_path / "own.npz", **held), tmp_path / "out")
    assert (info.name, info.format, info.labels, info.channels) == ("own", "medmnist", ("0", "1"), channels)
    assert info.sha256 == hashlib.sha256((tmp_path / "own.npz").read_bytes()).hexdigest()
    for split, (pixels, labels) in load(tmp_path / "out").splits.items():
        assert labels.tolist() == held[f"{split}_labels"].ravel().tolist()
        for image, source in zip(pixels, held[f"{split}_images"], strict=True):
            picture = Image.fromarray(source.squeeze())
            np.testing.assert_array_equal(
                image, to_pixels(picture, channels=channels, image_size_px=16, interpolation="bilinear")
            )


def test_reads_any_ascending_indices_across_splits(tmp_path):
    held = arrays()
    source = medmnist.open_source(save(tmp_path / "own.npz", **held))
    everything = np.concatenate([held[f"{split}_images"] for split in COUNTS])
    for indices in ([0], [21], [3, 4, 11, 12, 15, 16, 20], []):
        read = [np.asarray(image) for image in source.read(np.array(indices, np.int64))]
        np.testing.assert_array_equal(np.array(read).reshape(len(indices), 9, 11), everything[indices])


def test_equal_channels_count_as_grey(tmp_path):
    held = arrays()
    for split in COUNTS:
        held[f"{split}_images"] = np.repeat(held[f"{split}_images"][..., None], 3, axis=3)
    assert prepare(save(tmp_path / "own.npz", **held), tmp_path / "out").channels == 1


def test_missing_val_is_taken_from_train(tmp_path):
    held = {key: value for key, value in arrays().items() if not key.startswith("val")}
    info = prepare(save(tmp_path / "own.npz", **held), tmp_path / "out")
    assert info.splits["val"].images == 2
    assert info.splits["train"].images == 10
    assert info.splits["test"].images == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_labels": np.eye(12, 3, dtype=np.uint8) + np.eye(12, 3, 1, dtype=np.uint8)},
            r"shapes \(12, 3\), \(4,\), \(6,\)",
        ),
        ({"train_labels": np.ones(5, np.uint8)}, "5 train_labels for 12 train_images"),
        ({"val_labels": np.full(4, 0.5)}, "val_labels: shape .* of float64, expected one whole number"),
        ({"val_labels": np.full(4, -1)}, "class numbers from -1"),
        ({"test_images": np.zeros((6, 4, 4))}, "test_images has shape .* of float64, expected uint8"),
        ({"train_images": np.zeros((12, 4, 4, 4), np.uint8)}, "volumes"),
        ({"train_labels": np.array([None] * 12)}, "train_labels holds Python objects"),
        ({"test_labels": None}, "test_labels"),
        ({"train_images": None}, "expected train_images"),
    ],
)
def test_arrays_that_do_not_fit_are_one_clear_line(tmp_path, change, message):
    held = {key: value for key, value in (arrays() | change).items() if value is not None}
    settings = save(tmp_path / "own.npz", **held)
    with pytest.raises(DataError, match=message) as fault:
        prepare(settings, tmp_path / "out")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        b"PK\x05\x06" + bytes(18),
        zipped(b"no array"),
        zipped(b"\x93NUMPY\x01\x00\x10\x00{'descr'"),
    ],
)
def test_what_is_not_an_npz_is_one_clear_line(tmp_path, content):
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"own\.npz: ") as fault:
        prepare(DataSettings(str(tmp_path / "own.npz"), 16), tmp_path / "out")
    assert "\n" not in str(fault.value)


def test_a_torn_array_is_refused(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    content = bytearray((tmp_path / "own.npz").read_bytes())
    content[300] ^= 255
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        prepare(DataSettings(str(tmp_path / "own.npz"), 16), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        prepare(DataSettings(str(tmp_path / "none.npz"), 16), tmp_path / "out")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pepr_edge"


def test_offline_says_what_to_fetch_and_where_to_put_it(tmp_path, cache, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/breastmnist.npz"
    monkeypatch.setattr(medmnist, "url", lambda name: closed)
    with pytest.raises(DataError) as fault:
        prepare(DataSettings("breastmnist", 16), tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert closed in str(fault.value)
    assert str(cache / "breastmnist.npz") in str(fault.value)
    assert INFO["breastmnist"].md5 in str(fault.value)


BASE = [name for name in INFO if "_" not in name]


@pytest.mark.parametrize("px", [64, 128, 224])
def test_every_set_is_known_at_the_sizes_of_medmnist_plus(px):
    assert len(BASE) == 12
    for name in BASE:
        larger = INFO[f"{name}_{px}"]
        assert (larger.labels, larger.task) == (INFO[name].labels, INFO[name].task)
        assert url(f"{name}_{px}").endswith(f"/10519652/files/{name}_{px}.npz?download=1")


def test_checksums_are_all_different_and_whole():
    checksums = [known.md5 for known in INFO.values()]
    assert len(set(checksums)) == len(checksums) == 12 * 4 + 4
    assert all(len(md5) == 32 and int(md5, 16) >= 0 for md5 in checksums)


@pytest.mark.parametrize("name", ["dermamnist_corrected_28", "dermamnist_extended_224"])
def test_the_corrected_sets_of_dermamnist_are_known(name):
    assert medmnist.recognises(name)
    assert INFO[name].labels == INFO["dermamnist"].labels
    assert url(name) == f"https://zenodo.org/records/12739457/files/{name}.npz?download=1"


def test_the_address_is_zenodo_s():
    assert url("breastmnist") == "https://zenodo.org/records/10519652/files/breastmnist.npz?download=1"


def test_downloads_by_name_with_its_checksum(tmp_path, cache, real_data, monkeypatch):
    downloads = []

    def retrieve(address, known_hash, fname, path):
        downloads.append((address, known_hash))
        path.mkdir(parents=True)
        return shutil.copy(real_data / fname, path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    info = prepare(DataSettings("BreastMNIST", 16), tmp_path / "out")
    assert downloads == [(url("breastmnist"), "md5:750601b1f35ba3300ea97c75c52ff8f6")]
    assert info.labels == ("malignant", "benign")
    prepare(DataSettings("breastmnist", 24), tmp_path / "other")
    assert len(downloads) == 1


def test_a_download_with_another_checksum_is_refused(tmp_path, cache, monkeypatch):
    def downloader(url, output_file, pooch):
        with open(output_file, "wb") as file:
            file.write(b"a login page")

    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar: downloader)
    with pytest.raises(DataError, match="its checksum is wrong"):
        prepare(DataSettings("breastmnist", 16), tmp_path / "out")
    assert not (cache / "breastmnist.npz").exists()


def test_a_matrix_of_0_and_1_has_a_column_for_each_finding(tmp_path):
    settings = DataSettings(str(multilabel_npz(tmp_path / "own.npz", (20, 8, 8))), 28)
    info = prepare(settings, tmp_path / "out")
    assert (info.kind, info.labels, info.splits["train"].images) == ("multilabel", ("0", "1", "2"), 20)
    _, labels = load(tmp_path / "out").splits["test"]
    assert labels.shape == (8, 3)
    assert tuple(labels.sum(axis=0)) == info.splits["test"].class_counts
    assert medmnist.known_kind(settings) == "multilabel"
    assert any("data.raters = true" in note for note in info.notes)


def test_votes_in_an_npz_need_the_word_of_the_recipe(tmp_path):
    settings = DataSettings(str(multilabel_npz(tmp_path / "own.npz", (20, 8, 8))), 28, raters=True)
    info = prepare(settings, tmp_path / "out")
    assert (info.kind, info.labels) == ("binary", ("0", "1"))
    assert sum("majority of 3 raters" in note for note in info.notes) == 3


@pytest.mark.parametrize("kind", ["binary", "ordinal"])
def test_findings_are_no_classes(tmp_path, kind):
    settings = DataSettings(str(multilabel_npz(tmp_path / "own.npz", (20, 8, 8))), 28, kind=kind)
    with pytest.raises(DataError, match="several 0/1 labels"):
        prepare(settings, tmp_path / "out")


def test_the_chest_set_has_its_14_findings():
    known = INFO["chestmnist"]
    assert len(known.labels) == 14
    assert medmnist.known_kind(DataSettings("chestmnist", 28)) == "multilabel"
    assert medmnist.known_kind(DataSettings("retinamnist_64", 28)) == "ordinal"
    assert medmnist.known_kind(DataSettings("breastmnist", 28)) is None


@pytest.mark.parametrize(
    ("name", "labels", "counts", "baseline"),
    [
        ("breastmnist", ("malignant", "benign"), (546, 78, 156), 0.731),
        ("pneumoniamnist", ("normal", "pneumonia"), (4708, 524, 624), 0.625),
    ],
)
def test_real_files(real_data, tmp_path, name, labels, counts, baseline):
    info = prepare(DataSettings(str(real_data / f"{name}.npz"), 28), tmp_path / "out")
    assert info.labels == labels
    assert tuple(info.splits[split].images for split in COUNTS) == counts
    assert info.majority_baseline == pytest.approx(baseline, abs=5e-4)
    with np.load(real_data / f"{name}.npz") as held:
        for split, (pixels, targets) in load(tmp_path / "out").splits.items():
            np.testing.assert_array_equal(pixels[..., 0], held[f"{split}_images"])
            np.testing.assert_array_equal(targets, held[f"{split}_labels"][:, 0])


def test_a_renamed_file_is_known_by_its_checksum(real_data, tmp_path):
    shutil.copy(real_data / "breastmnist.npz", tmp_path / "mine.npz")
    assert medmnist.open_source(DataSettings(str(tmp_path / "mine.npz"), 16)).labels == (
        "malignant",
        "benign",
    )


def test_names_of_larger_sizes_are_known_unless_the_classes_do_not_fit(tmp_path):
    assert medmnist.open_source(save(tmp_path / "pneumoniamnist_64.npz", **arrays())).labels == (
        "normal",
        "pneumonia",
    )
    held = arrays() | {"train_labels": np.arange(12) % 3}
    assert medmnist.open_source(save(tmp_path / "breastmnist.npz", **held)).labels == ("0", "1", "2")
