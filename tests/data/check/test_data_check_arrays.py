"""Files of arrays: .npz and .pt."""

from __future__ import annotations

import made_images
import numpy as np
import pytest

torch = pytest.importorskip("torch")


def pixels(count: int) -> np.ndarray:
    return np.stack([made_images.pixels(seed) for seed in range(count)])


@pytest.mark.parametrize("columns", [2, 4, 14])
def test_a_matrix_of_0_and_1_is_of_findings_and_no_votes(tmp_path, check, columns):
    targets = torch.randint(0, 2, (20, columns), generator=torch.Generator().manual_seed(0))
    targets[0] = 1
    torch.save({"images": torch.from_numpy(pixels(20)), "targets": targets}, tmp_path / "d.pt")
    done = check(tmp_path / "d.pt")
    assert done.counts == {str(finding): int(targets[:, finding].sum()) for finding in range(columns)}
    problem = done.problem("several_labels")
    assert (problem["severity"], problem["count"]) == ("warning", 20)
    assert "data.raters = true" in problem["remedy"]


def test_votes_of_grades_need_the_word_of_the_recipe_too(tmp_path, check):
    targets = torch.arange(60).reshape(20, 3) % 5
    torch.save({"images": torch.from_numpy(pixels(20)), "targets": targets}, tmp_path / "d.pt")
    assert check(tmp_path / "d.pt").kinds == {"several_labels": "error"}


RECIPE = """schema_version = 1
name = "mine"
[device]
name = "any"
[data]
source = "d.pt"
raters = true
[candidates]
architectures = ["resnet10t"]
"""


def test_with_raters_the_majority_counts(tmp_path, check):
    votes = torch.zeros(40, 3, dtype=torch.int64)
    votes[20:, :2] = 1
    torch.save({"images": torch.from_numpy(pixels(40)), "targets": votes}, tmp_path / "d.pt")
    (tmp_path / "r.toml").write_text(RECIPE)
    done = check(tmp_path / "r.toml")
    assert (done.status, done.counts, done.kinds) == (0, {"0": 20, "1": 20}, {"raters_joined": "note"})


@pytest.mark.parametrize(
    "more", [{"patients": torch.arange(40)}, {"masks": torch.zeros(3), "age": torch.ones(2)}]
)
def test_other_tensors_are_named(tmp_path, check, more):
    content = {"images": torch.from_numpy(pixels(40)), "targets": torch.arange(40) % 2}
    torch.save(content | more, tmp_path / "d.pt")
    done = check(tmp_path / "d.pt")
    assert done.document["columns"] == {"used": ["images", "targets"], "ignored": list(more)}
    assert done.kinds == {"columns_ignored": "note"}


def npz(path, **more):
    images = pixels(40)
    labels = np.arange(40) % 2
    parts = {"train": slice(0, 20), "val": slice(20, 30), "test": slice(30, 40)}
    arrays = {f"{split}_images": images[part] for split, part in parts.items()}
    arrays |= {f"{split}_labels": labels[part, None] for split, part in parts.items()}
    np.savez(path, **arrays, **more)
    return path


def test_other_arrays_are_named(tmp_path, check):
    done = check(npz(tmp_path / "d.npz", train_patients=np.arange(20), notes=np.zeros(1)))
    assert done.document["columns"]["ignored"] == ["notes", "train_patients"]
    assert done.kinds == {"columns_ignored": "note"}


@pytest.mark.parametrize("name", ["breastmnist", "PneumoniaMNIST_64"])
def test_labels_after_the_name_of_a_file_are_a_warning(tmp_path, check, name):
    done = check(npz(tmp_path / f"{name}.npz"))
    assert done.kinds == {"labels_by_file_name": "warning"}
    assert check(npz(tmp_path / "mine.npz")).kinds == {}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (
            "breastmnist",
            {"copies_with_two_labels", "copies_across_splits", "near_copies_across_splits",
             "near_copies_with_two_labels", "near_copies_in_split"},
        ),
        ("pneumoniamnist", {"copies_across_splits", "copies_in_split"}),
    ],
)  # fmt: skip
def test_the_real_sets_have_true_problems_only(real_data, check, name, kinds):
    pytest.importorskip("imagehash")
    done = check(real_data / f"{name}.npz")
    assert (done.status, set(done.kinds)) == (0, kinds)


def test_phantom_has_no_problems(check):
    done = check("phantom")
    assert (done.status, done.document["problems"]) == (0, [])
