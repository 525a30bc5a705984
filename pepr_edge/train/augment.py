"""Light augmentation for medical images: small shifts and changes of brightness that alter no finding."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

ROTATION_DEG = 8.0
SHIFT = 0.05  # of the image's width
ZOOM = 0.08
BRIGHTNESS = 0.1  # in units of the normalised image
CONTRAST = 0.1


def light(images: torch.Tensor, generator: torch.Generator, *, flips: bool) -> torch.Tensor:
    """Rotate, shift, zoom and change the brightness of each image a little, at random.

    Args:
        images: normalised, shape (n, channels, height, width).
        generator: random numbers, on the CPU.
        flips: also mirror half of the images; only if left and right have no meaning (skin, but not chest).
    Returns:
        The same shape and device.
    """
    n = len(images)
    draw = torch.rand(n, 6, generator=generator) * 2 - 1
    angle = draw[:, 0] * math.radians(ROTATION_DEG)
    zoom = 1 + draw[:, 1] * ZOOM
    mirror = torch.ones(n)
    if flips:
        mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = mirror * zoom * angle.cos()
    theta[:, 0, 1] = -zoom * angle.sin()
    theta[:, 1, 0] = mirror * zoom * angle.sin()
    theta[:, 1, 1] = zoom * angle.cos()
    theta[:, :, 2] = draw[:, 2:4] * 2 * SHIFT
    theta = theta.to(images.device)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    contrast = (1 + draw[:, 4] * CONTRAST).to(images.device)[:, None, None, None]
    brightness = (draw[:, 5] * BRIGHTNESS).to(images.device)[:, None, None, None]
    return moved * contrast + brightness
