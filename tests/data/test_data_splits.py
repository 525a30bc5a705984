import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.data.source import DataSettings, ImageSource
from pepr_edge.data.splits import assign_splits, grouped, part, stratified
from pepr_edge.errors import DataError

labels = st.lists(st.integers(0, 3), min_size=1, max_size=120).map(lambda values: np.array(values, np.int64))
shares = st.sampled_from([(0.15, 0.2), (0.0, 0.2), (0.3, 0.0), (0.4, 0.5), (0.01, 0.01)])
seeds = st.integers(0, 2**31)


def made(targets, groups=None, given=None, names=("a", "b")):
    return ImageSource(
        "made", "made", "0" * 64, names, np.array(targets, np.int64), lambda indices: iter(()), given, groups
    )


def settings_for(**changes):
    return DataSettings("made", 32, **changes)


@settings(deadline=None, max_examples=80)
@given(labels, shares, seeds)
def test_stratified_parts_each_class_in_its_shares(targets, share, seed):
    val, test = share
    splits = stratified(targets, val=val, test=test, seed=seed)
    assert set(splits) == {"train"} | ({"val"} if val else set()) | ({"test"} if test else set())
    np.testing.assert_array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(len(targets)))
    for label in np.unique(targets):
        count = int((targets == label).sum())
        held = {split: int((targets[chosen] == label).sum()) for split, chosen in splits.items()}
        assert held["train"] >= 1
        for split, part_of in (("val", val), ("test", test)):
            if part_of and count >= 3:
                assert held[split] >= 1
            if part_of and count >= 3 and held["train"] > 1:
                assert abs(held[split] - count * part_of) <= 1


def test_stratified_depends_on_the_seed_alone():
    targets = np.repeat([0, 1], 50)
    first, again, other = (stratified(targets, val=0.15, test=0.2, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[split], again[split]) for split in first)
    assert not np.array_equal(first["test"], other["test"])
    assert [len(first[split]) for split in ("train", "val", "test")] == [64, 16, 20]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=100), shares, seeds)
def test_grouped_never_parts_a_group(pairs, share, seed):
    groups, targets = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    val, test = share
    splits_needed = 1 + (val > 0) + (test > 0)
    if len(np.unique(groups)) < splits_needed:
        with pytest.raises(DataError, match="groups"):
            grouped(targets, groups, val=val, test=test, seed=seed)
        return
    splits = grouped(targets, groups, val=val, test=test, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(len(targets)))
    homes = [set(groups[chosen]) for chosen in splits.values()]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert set(targets[splits["train"]]) == set(targets)


def test_grouped_keeps_about_the_shares_of_each_class():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 80, 800)
    targets = (rng.random(800) < 0.3).astype(np.int64)
    splits = grouped(targets, groups, val=0.15, test=0.2, seed=1)
    for split, share in (("train", 0.65), ("val", 0.15), ("test", 0.2)):
        assert len(splits[split]) / 800 == pytest.approx(share, abs=0.02)
        assert targets[splits[split]].mean() == pytest.approx(targets.mean(), abs=0.05)
    again = grouped(targets, groups, val=0.15, test=0.2, seed=1)
    assert all(np.array_equal(splits[split], again[split]) for split in splits)


def test_grouped_gives_each_split_a_group_even_if_one_class_sits_in_single_groups():
    splits = grouped(np.array([0, 1, 0, 1]), np.array([0, 1, 2, 2]), val=0.1, test=0.1, seed=0)
    assert all(len(chosen) for chosen in splits.values())
    assert splits["train"].tolist() == [2, 3]


@settings(deadline=None, max_examples=80)
@given(labels, st.floats(0.01, 1), st.floats(0.01, 1), seeds)
def test_part_is_stratified_and_nested(targets, one, other, seed):
    small, large = (part(targets, fraction, seed) for fraction in sorted((one, other)))
    assert set(small) <= set(large)
    for label in np.unique(targets):
        count = int((targets == label).sum())
        assert int((targets[small] == label).sum()) == min(count, max(2, round(count * min(one, other))))


def test_part_of_everything_is_everything():
    targets = np.array([0, 1, 1, 2, 0])
    np.testing.assert_array_equal(part(targets, 1.0, 0), np.arange(5))


def test_assign_takes_only_what_is_missing_from_train():
    targets = [0, 1] * 50
    test_images, train_images = np.arange(80, 100), np.arange(80)
    splits = assign_splits(
        made(targets, given={"train": train_images, "test": test_images}), settings_for(val_fraction=0.25)
    )
    np.testing.assert_array_equal(splits["test"], test_images)
    assert len(splits["val"]) == 20
    assert len(splits["train"]) == 60
    assert set(splits["val"]) | set(splits["train"]) == set(train_images)


def test_assign_cuts_the_training_split_alone():
    complete, reduced = (
        assign_splits(made([0, 0, 1] * 40), settings_for(fraction=fraction)) for fraction in (1.0, 0.25)
    )
    assert np.array_equal(complete["test"], reduced["test"])
    assert np.array_equal(complete["val"], reduced["val"])
    assert set(reduced["train"]) < set(complete["train"])
    assert len(reduced["train"]) == pytest.approx(len(complete["train"]) / 4, abs=1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (made([0] * 9, names=("only",)), "only the class 'only', expected two"),
        (made([0] * 9), "class 'b' has no image in the training split"),
        (
            made(
                [0, 1, 0, 1], given={"train": np.array([0, 2]), "val": np.array([1]), "test": np.array([3])}
            ),
            "class 'b' has no image",
        ),
        (made([0, 1], given={"val": np.array([0]), "test": np.array([1])}), "no images in the train split"),
        (made([0, 1]), "no images in the val split"),
    ],
)
def test_assign_refuses_splits_that_cannot_be_used(source, message):
    with pytest.raises(DataError, match=message):
        assign_splits(source, settings_for())
