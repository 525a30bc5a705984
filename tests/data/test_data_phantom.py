import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.data import DataSettings, phantom, prepare
from pepr_edge.errors import DataError


def test_shape_balance_and_speed():
    start = time.perf_counter()
    pixels, labels = phantom.images(600, 0)
    duration_s = time.perf_counter() - start
    assert pixels.shape == (600, 64, 64)
    assert (pixels.dtype, labels.dtype) == (np.uint8, np.int64)
    assert labels.mean() == pytest.approx(0.4)
    assert duration_s < 60
    assert (pixels == 0).mean() < 0.01
    assert (pixels == 255).mean() < 0.01
    assert pixels.std(axis=(1, 2)).min() > 0


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 120), st.integers(0, 2**40), st.sampled_from([16, 33]))
def test_fewer_images_are_the_beginning_of_more(n, seed, size_px):
    pixels, labels = phantom.images(n, seed, size_px)
    more, more_labels = phantom.images(130, seed, size_px)
    np.testing.assert_array_equal(pixels, more[:n])
    np.testing.assert_array_equal(labels, more_labels[:n])


def test_seeds_differ():
    assert not np.array_equal(phantom.images(20, 0)[0], phantom.images(20, 1)[0])


def features(pixels):
    """Return amount and variation of detail, after smoothing the noise, and unevenness of the centre."""
    smooth = pixels.reshape(len(pixels), 32, 2, 32, 2).mean(axis=(2, 4))
    edges = np.hypot(*np.gradient(smooth, axis=(1, 2)))
    return np.stack([edges.mean(axis=(1, 2)), edges.std(axis=(1, 2)), smooth.std(axis=(1, 2))], axis=1)


def fisher(train, labels, test):
    """Linear discriminant with a little shrinkage, and its decisions on `test`."""
    scale = train.std(axis=0) + 1e-9
    train, test = train / scale, test / scale
    means = [train[labels == label].mean(axis=0) for label in (0, 1)]
    spread = np.cov(train.T) + np.eye(train.shape[1])
    weights = np.linalg.solve(spread, means[1] - means[0])
    return ((test - (means[0] + means[1]) / 2) @ weights > 0).astype(int)


def test_task_is_learnable_but_neither_trivial_nor_linear():
    pixels, labels = phantom.images(900, 5)
    half = slice(0, 500), slice(500, 900)
    found = (
        fisher(features(pixels)[half[0]], labels[half[0]], features(pixels)[half[1]]) == labels[half[1]]
    ).mean()
    small = pixels.reshape(900, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(900, -1)
    linear = (fisher(small[half[0]], labels[half[0]], small[half[1]]) == labels[half[1]]).mean()
    assert 0.66 < found < 0.95
    assert linear < 0.68
    brightness = [pixels[labels == label].mean() for label in (0, 1)]
    assert abs(brightness[0] - brightness[1]) < 5


def test_prepared_phantom_is_the_same_everywhere_and_follows_the_seed(tmp_path):
    infos = [
        prepare(DataSettings("phantom", 32, phantom_images=60, seed=seed), tmp_path / name)
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    ]
    assert infos[0] == infos[1]
    assert infos[0].sha256 != infos[2].sha256
    assert infos[0].labels == ("benign", "malignant")
    assert infos[0].majority_baseline == pytest.approx(0.6, abs=0.1)


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="phantom_images = 5, expected at least 20"):
        prepare(DataSettings("phantom", 32, phantom_images=5), tmp_path)
