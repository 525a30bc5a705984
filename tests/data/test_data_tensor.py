import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pepr_edge.data import DataSettings, load, prepare
from pepr_edge.data.label_matrix import majority
from pepr_edge.errors import DataError
from pepr_edge.images.preprocess import to_pixels
from pepr_edge.untrusted import npz

torch = pytest.importorskip("torch")

N = 20


def uint8(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


TARGETS = torch.arange(N) % 2


def save(path, content, **options):
    torch.save(content, path, **options)
    return DataSettings(str(path), 16)


def pictures(out):
    return sorted(image.tobytes() for pixels, _ in load(out).splits.values() for image in pixels)


def expected(images, channels):
    made = (
        to_pixels(Image.fromarray(image), channels=channels, image_size_px=16, interpolation="bilinear")
        for image in images
    )
    return sorted(pixels.tobytes() for pixels in made)


@pytest.mark.parametrize("shape", [(N, 9, 7), (N, 1, 9, 7), (N, 9, 7, 1), (N, 3, 9, 7), (N, 9, 7, 3)])
@pytest.mark.parametrize("floating", [False, True])
def test_every_layout_gives_the_same_pixels(tmp_path, shape, floating):
    images = uint8(*shape)
    settings = save(
        tmp_path / "d.pt", {"images": images.float() / 255 if floating else images, "targets": TARGETS}
    )
    info = prepare(settings, tmp_path / "out")
    channels = 3 if 3 in shape else 1
    plain = images.permute(0, 2, 3, 1) if shape[1] == 3 else images
    assert info.channels == channels
    assert info.format == "tensor"
    assert pictures(tmp_path / "out") == expected(
        plain.numpy().reshape((N, 9, 7, 3) if channels == 3 else (N, 9, 7)), channels
    )


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (lambda i, t: (i, t), {}),
        (lambda i, t: [i, t[:, None].float()], {"_use_new_zipfile_serialization": False}),
    ],
)
def test_pairs_and_old_files(tmp_path, content, options):
    images = uint8(N, 9, 7)
    prepare(save(tmp_path / "d.pth", content(images, TARGETS), **options), tmp_path / "out")
    assert pictures(tmp_path / "out") == expected(images.numpy(), 1)


def test_given_splits_are_kept(tmp_path):
    content = {}
    for split, count in (("train", 8), ("val", 4), ("test", 6)):
        content |= {
            f"{split}_images": uint8(count, 16, 16) + count,
            f"{split}_targets": torch.arange(count) % 2,
        }
    prepare(save(tmp_path / "d.pt", content), tmp_path / "out")
    for split, (pixels, labels) in load(tmp_path / "out").splits.items():
        np.testing.assert_array_equal(pixels[..., 0], content[f"{split}_images"].numpy())
        np.testing.assert_array_equal(labels, content[f"{split}_targets"].numpy())


def test_majority_and_ties():
    chosen, ties = majority(np.array([[0, 0, 1, 0], [1, 1, 0, 1], [1, 0, 0, 1], [2, 2, 1, 1], [1, 1, 1, 1]]))
    assert chosen.tolist() == [0, 1, 0, 1, 1]
    assert ties == 2


def test_the_majority_of_raters_counts_and_ties_are_noted(tmp_path):
    votes = torch.zeros(N, 4)
    votes[10:, :3] = 1
    votes[:2, :2] = 1
    settings = save(tmp_path / "lidc.pt", {"images": uint8(N, 9, 7), "targets": votes})
    info = prepare(replace(settings, raters=True), tmp_path / "out")
    assert sum(np.array(facts.class_counts) for facts in info.splits.values()).tolist() == [10, 10]
    assert info.notes == ("majority of 4 raters; 2 ties went to the lower class",)


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.rand(N, 4, 4) * 255, TARGETS, "float32 from .* expected 0 to 1"),
        (torch.rand(N, 4, 4) - 0.5, TARGETS, "expected 0 to 1"),
        (torch.full((N, 4, 4), float("nan")), TARGETS, "expected 0 to 1"),
        (torch.zeros(N, 4, 4, dtype=torch.int64), TARGETS, r"int64, expected uint8.*x\.to\(torch\.uint8\)"),
        (uint8(N, 4), TARGETS, r"images of shape \(20, 4\)"),
        (uint8(N, 5, 6, 7), TARGETS, r"images of shape \(20, 5, 6, 7\)"),
        (uint8(N, 4, 4), TARGETS[:5], r"targets of shape \(5,\) for 20 images"),
        (uint8(N, 4, 4), TARGETS + 0.5, "not whole numbers"),
        (uint8(N, 4, 4), TARGETS - 1, "class numbers from -1"),
        (uint8(N, 4, 4), torch.nn.functional.one_hot(TARGETS), "look one-hot"),
        (uint8(N, 4, 4), [0, 1], "keys images, targets, expected"),
    ],
)
def test_faults_are_reported_in_one_line(tmp_path, images, targets, message):
    with pytest.raises(DataError, match=message) as fault:
        prepare(save(tmp_path / "d.pt", {"images": images, "targets": targets}), tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert "d.pt" in str(fault.value)


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.zeros(N, 4, 4).to_sparse(), TARGETS, "sparse_coo"),
        (torch.zeros(N, 4, 4, device="meta"), TARGETS, "meta"),
        (torch.zeros(1, dtype=torch.uint8).expand(2**24, 64, 64), TARGETS, "expanded from"),
        (uint8(N, 4, 4), torch.zeros(1, dtype=torch.int64).expand(2**24), "targets is .* expanded from"),
        (torch.zeros(N, 4, 4, dtype=torch.complex64), TARGETS, "complex64"),
        (uint8(N, 4, 4), TARGETS.to(torch.complex64), "targets is .*complex64"),
        (uint8(N, 4, 4), TARGETS * torch.inf, "not whole numbers"),
    ],
)
def test_tensors_without_their_values_are_refused(tmp_path, images, targets, message):
    path = save(tmp_path / "d.pt", {"images": images, "targets": targets})
    with pytest.raises(DataError, match=message) as fault:
        prepare(path, tmp_path / "out")
    assert "\n" not in str(fault.value)


def test_tensors_with_a_gradient_are_read(tmp_path):
    images = torch.rand(N, 4, 4, requires_grad=True)
    prepare(save(tmp_path / "d.pt", {"images": images, "targets": TARGETS}), tmp_path / "out")


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MIN_UNPACKED_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d/data/0", bytes(4 << 20))
    with pytest.raises(DataError, match=r"unpack to 4\.19 MB"):
        prepare(DataSettings(str(tmp_path / "d.pt"), 16), tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [{"weights": torch.zeros(3)}, torch.zeros(3), {"val_images": uint8(N, 4, 4), "val_targets": TARGETS}],
)
def test_other_contents_are_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"d\.pt: contains .*, expected"):
        prepare(save(tmp_path / "d.pt", content), tmp_path / "out")


class Code:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_code_is_refused_and_not_run(tmp_path, way):
    path, marker = tmp_path / "d.pt", str(tmp_path / "ran")
    if way == "torch":
        torch.save({"images": Code(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Code(marker), protocol=2))
    with pytest.raises(DataError, match="could run code") as fault:
        prepare(DataSettings(str(path), 16), tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert not os.path.exists(marker)  # noqa: PTH110


@pytest.mark.parametrize("content", [b"", b"hello, not a tensor", b"PK\x03\x04 torn", bytes(range(256))])
def test_broken_files_are_reported_in_one_line(tmp_path, content):
    (tmp_path / "d.pt").write_bytes(content)
    with pytest.raises(DataError, match="not a readable tensor file") as fault:
        prepare(DataSettings(str(tmp_path / "d.pt"), 16), tmp_path / "out")
    assert "\n" not in str(fault.value)
