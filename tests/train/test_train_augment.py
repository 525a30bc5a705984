from __future__ import annotations

import pytest
import torch

from pepr_edge.train.augment import BRIGHTNESS, CONTRAST, light


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(n: int, dim: int, px: int = 24) -> torch.Tensor:
    """Images that become brighter along one axis: 2 is downwards, 3 to the right."""
    line = torch.linspace(-1, 1, px)
    image = line[:, None].expand(px, px) if dim == 2 else line[None, :].expand(px, px)
    return image.expand(n, 1, px, px)


def slopes(images: torch.Tensor, dim: int) -> torch.Tensor:
    """Difference in brightness between the second half of each image and the first."""
    first, second = images.chunk(2, dim)
    return (second - first).mean((1, 2, 3))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (5, 3, 32, 32), (2, 1, 9, 9)])
@pytest.mark.parametrize("flips", [False, True])
def test_shape_and_type_are_kept_and_the_input_is_unchanged(shape: tuple[int, ...], flips: bool) -> None:
    images = torch.randn(shape, generator=seeded())
    before = images.clone()
    actual = light(images, seeded(), flips=flips)
    assert actual.shape == images.shape
    assert actual.dtype == images.dtype
    assert bool(actual.isfinite().all())
    assert torch.equal(images, before)


def test_the_result_is_on_the_device_of_the_images() -> None:
    images = torch.empty(2, 1, 16, 16, device="meta")
    assert light(images, seeded(), flips=True).device.type == "meta"


def test_the_result_depends_on_the_generator_only() -> None:
    images = torch.randn(4, 1, 16, 16, generator=seeded(9))
    first = light(images, seeded(1), flips=True)
    torch.rand(5)
    assert torch.equal(first, light(images, seeded(1), flips=True))
    assert not torch.equal(first, light(images, seeded(2), flips=True))


def test_each_image_is_changed_differently() -> None:
    actual = light(torch.randn(1, 1, 16, 16, generator=seeded()).expand(6, 1, 16, 16), seeded(), flips=False)
    assert all(not torch.equal(actual[0], other) for other in actual[1:])


def test_images_are_mirrored_only_with_flips() -> None:
    images = ramp(400, dim=3)
    assert bool((slopes(light(images, seeded(), flips=False), 3) > 0).all())
    mirrored = int((slopes(light(images, seeded(), flips=True), 3) < 0).sum())
    assert 150 < mirrored < 250


@pytest.mark.parametrize("flips", [False, True])
def test_images_are_never_turned_upside_down(flips: bool) -> None:
    assert bool((slopes(light(ramp(200, dim=2), seeded(), flips=flips), 2) > 0).all())


def test_shifts_are_small_and_not_zero() -> None:
    """The centre of a bright spot moves by a few pixels at most, in different directions."""
    px = 64
    images = torch.zeros(200, 1, px, px)
    images[:, :, 30:34, 30:34] = 1
    actual = light(images, seeded(), flips=False).clamp(min=0)
    weight = (actual - actual.amin((2, 3), keepdim=True)) ** 2
    x = (weight * torch.arange(px)).sum((1, 2, 3)) / weight.sum((1, 2, 3)) - 31.5
    assert float(x.abs().max()) < 0.05 * px + 1.5
    assert float(x.std()) > 0.5


@pytest.mark.parametrize("value", [0.0, 1.0, 3.0])
def test_brightness_and_contrast_change_up_to_their_limits(value: float) -> None:
    actual = light(torch.full((500, 1, 8, 8), value), seeded(), flips=False)
    change = actual[:, 0, 4, 4] - value
    limit = value * CONTRAST + BRIGHTNESS
    assert float(change.abs().max()) <= limit + 1e-5
    assert float(change.max()) > 0.85 * limit
    assert float(change.min()) < -0.85 * limit
