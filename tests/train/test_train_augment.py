from __future__ import annotations

import pytest
import torch

from pepr_edge.train.augment import BRIGHTNESS, CONTRAST, light


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(n: int, dim: int, px: int = 24) -> torch.Tensor:
    """Images that grow brighter along one axis: 2 downwards, 3 to the right."""
    line = torch.linspace(-1, 1, px)
    image = line[:, None].expand(px, px) if dim == 2 else line[None, :].expand(px, px)
    return image.expand(n, 1, px, px)


def slopes(images: torch.Tensor, dim: int) -> torch.Tensor:
    """How much brighter the second half of each image is than the first."""
    first, second = images.chunk(2, dim)
    return (second - first).mean((1, 2, 3))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (5, 3, 32, 32), (2, 1, 9, 9)])
@pytest.mark.parametrize("flips", [False, True])
def test_shape_type_and_the_given_images_are_kept(shape: tuple[int, ...], flips: bool) -> None:
    images = torch.randn(shape, generator=seeded())
    before = images.clone()
    found = light(images, seeded(), flips=flips)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert bool(found.isfinite().all())
    assert torch.equal(images, before)


def test_the_result_is_where_the_images_are() -> None:
    images = torch.empty(2, 1, 16, 16, device="meta")
    assert light(images, seeded(), flips=True).device.type == "meta"


def test_the_generator_alone_decides() -> None:
    images = torch.randn(4, 1, 16, 16, generator=seeded(9))
    one = light(images, seeded(1), flips=True)
    torch.rand(5)
    assert torch.equal(one, light(images, seeded(1), flips=True))
    assert not torch.equal(one, light(images, seeded(2), flips=True))


def test_each_image_has_a_draw_of_its_own() -> None:
    found = light(torch.randn(1, 1, 16, 16, generator=seeded()).expand(6, 1, 16, 16), seeded(), flips=False)
    assert all(not torch.equal(found[0], other) for other in found[1:])


def test_left_and_right_change_places_only_when_asked() -> None:
    images = ramp(400, dim=3)
    assert bool((slopes(light(images, seeded(), flips=False), 3) > 0).all())
    mirrored = int((slopes(light(images, seeded(), flips=True), 3) < 0).sum())
    assert 150 < mirrored < 250


@pytest.mark.parametrize("flips", [False, True])
def test_up_and_down_never_change_places(flips: bool) -> None:
    assert bool((slopes(light(ramp(200, dim=2), seeded(), flips=flips), 2) > 0).all())


def test_moves_are_small_and_really_made() -> None:
    """Where the middle of a bright spot goes to: a few pixels at most, and not always the same way."""
    px = 64
    images = torch.zeros(200, 1, px, px)
    images[:, :, 30:34, 30:34] = 1
    found = light(images, seeded(), flips=False).clamp(min=0)
    weight = (found - found.amin((2, 3), keepdim=True)) ** 2
    x = (weight * torch.arange(px)).sum((1, 2, 3)) / weight.sum((1, 2, 3)) - 31.5
    assert float(x.abs().max()) < 0.05 * px + 1.5
    assert float(x.std()) > 0.5


@pytest.mark.parametrize("value", [0.0, 1.0, 3.0])
def test_brightness_and_contrast_change_up_to_their_limits(value: float) -> None:
    found = light(torch.full((500, 1, 8, 8), value), seeded(), flips=False)
    change = found[:, 0, 4, 4] - value
    limit = value * CONTRAST + BRIGHTNESS
    assert float(change.abs().max()) <= limit + 1e-5
    assert float(change.max()) > 0.85 * limit
    assert float(change.min()) < -0.85 * limit
