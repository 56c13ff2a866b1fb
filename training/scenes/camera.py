"""From a scene to a photograph: light, lens, sensor, file."""

from __future__ import annotations

import cv2
import numpy as np

from training.scenes.drawing import Field, Picture, Random, between, chance, clouds, pick, smooth

Light = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
"""A picture in floats, 0 to 255."""


def anyone(rng: Random, picture: Picture, finest: float) -> tuple[Picture, int]:
    """With a good phone or with a bad one."""
    return photograph(rng, picture, finest, harshness=rng.uniform(0.6, 1.5))


def photograph(rng: Random, picture: Picture, finest: float, harshness: float = 1.0) -> tuple[Picture, int]:
    """What an ordinary, often poor, camera makes of a scene, and the quality of the JPEG it writes.

    `finest` is the length in pixels of the smallest code, which must survive the blur.
    """
    light = lit(rng, picture.astype(np.float32))
    light = focused(rng, light, (0.4 + 0.006 * finest) * harshness)
    light = exposed(rng, light)
    light = sensed(rng, light, harshness)
    if chance(rng, 0.3):
        light += (light - cv2.GaussianBlur(light, (0, 0), rng.uniform(0.8, 2))) * rng.uniform(0.3, 1.5)
    photo = np.clip(light, 0, 255).astype(np.uint8)
    if chance(rng, 0.08):
        photo = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    quality = between(rng, 20, 60) if chance(rng, 0.4 * harshness) else between(rng, 60, 95)
    return photo, quality


# Light


def lit(rng: Random, light: Light) -> Light:
    height, width = light.shape[:2]
    gain = np.ones((height, width), np.float32)
    if chance(rng, 0.7):
        gain *= 1 + (smooth(rng, height, width, 1) - 0.45) * rng.uniform(0.1, 1)
    if chance(rng, 0.3):
        gain *= 1 - shadow(rng, height, width) * rng.uniform(0.2, 0.75)
    if chance(rng, 0.4):
        gain *= vignette(rng, height, width)
    light = light * np.maximum(gain, 0.1)[..., None]
    if chance(rng, 0.22):
        light = light + glare(rng, height, width)[..., None]
    return light.astype(np.float32)


def shadow(rng: Random, height: int, width: int) -> Field:
    """1 in the dark. Of a hand, a phone, a window's frame."""
    mask = np.zeros((height, width), np.float32)
    corners = rng.uniform(-0.3, 1.3, (between(rng, 3, 6), 2)) * (width, height)
    cv2.fillPoly(mask, [cv2.convexHull(corners.astype(np.int32))], 1.0)
    if chance(rng, 0.2):
        for x in range(0, width, between(rng, 20, 90)):
            cv2.line(mask, (x, 0), (x + between(rng, -40, 40), height), 1.0, between(rng, 2, 15))
    return cv2.GaussianBlur(mask, (0, 0), max(height, width) * rng.uniform(0.003, 0.06)).astype(np.float32)


def vignette(rng: Random, height: int, width: int) -> Field:
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    x, y = x - rng.normal(0, 0.15), y - rng.normal(0, 0.15)
    return (1 - rng.uniform(0.05, 0.3) * (x**2 + y**2)).astype(np.float32)


def glare(rng: Random, height: int, width: int) -> Field:
    """Light that a shiny surface throws back, brighter than white in places."""
    mask = np.zeros((height, width), np.float32)
    for _ in range(between(rng, 1, 3)):
        centre = (between(rng, 0, width), between(rng, 0, height))
        long = rng.uniform(0.02, 0.3) * width
        axes = (int(long), int(long * rng.uniform(0.1, 1)))
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), max(height, width) * rng.uniform(0.005, 0.07))
    if chance(rng, 0.5):
        soft = soft * np.clip(clouds(rng, height, width, 5, 3) * 1.6, 0, 1)
    return (soft * rng.uniform(60, 260)).astype(np.float32)


# Lens


def focused(rng: Random, light: Light, spread: float) -> Light:
    """Out of focus, or moved, by some `spread` pixels."""
    if chance(rng, 0.65):
        radius = abs(rng.normal(0, spread))
        light = disc_blur(light, radius) if chance(rng, 0.5) else gaussian_blur(light, radius * 0.7)
    if chance(rng, 0.2):
        light = motion_blur(light, rng.uniform(1, 1 + 3 * spread), rng.uniform(0, np.pi))
    return light


def gaussian_blur(light: Light, sigma: float) -> Light:
    return cv2.GaussianBlur(light, (0, 0), sigma).astype(np.float32) if sigma > 0.2 else light


def disc_blur(light: Light, radius: float) -> Light:
    reach = int(np.ceil(radius))
    if reach < 1:
        return light
    x = np.arange(-reach, reach + 1)
    kernel = np.clip(radius + 0.5 - np.hypot(x[:, None], x), 0, 1).astype(np.float32)
    return cv2.filter2D(light, -1, kernel / kernel.sum()).astype(np.float32)


def motion_blur(light: Light, length: float, angle: float) -> Light:
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, 4 * reach + 1):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        column, row = int(x), int(y)
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            kernel[row + dy, column + dx] += (1 - abs(x - column - dx)) * (1 - abs(y - row - dy))
    return cv2.filter2D(light, -1, kernel / kernel.sum()).astype(np.float32)


# Sensor


def exposed(rng: Random, light: Light) -> Light:
    """Too dark, too light, without contrast, with a cast."""
    cast = rng.normal(1, 0.05, 3) if chance(rng, 0.8) else rng.normal(1, 0.15, 3)
    gain = rng.uniform(0.75, 1.15) if chance(rng, 0.75) else rng.uniform(0.35, 1.6)
    light = light * (np.clip(cast, 0.4, 1.6) * gain).astype(np.float32)
    if chance(rng, 0.35):  # haze, a dirty lens, a weak print
        share = rng.uniform(0.25, 0.9)
        light = light * share + (1 - share) * rng.uniform(40, 200)
    if chance(rng, 0.4):
        gamma = rng.uniform(0.6, 1.6)
        light = (255 * (np.clip(light, 0, 255) / 255) ** gamma).astype(np.float32)
    return light


def sensed(rng: Random, light: Light, harshness: float) -> Light:
    """Noise of brightness in every pixel, of colour in larger patches."""
    height, width = light.shape[:2]
    strength = abs(rng.normal(0, 6 * harshness))
    if strength > 0.7:
        grain = rng.standard_normal((height, width, 1), np.float32) * strength
        if chance(rng, 0.4):  # what the camera's own smoothing leaves
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8)[..., None] * 2
        light = light + grain
    if strength > 2 and chance(rng, 0.7):
        patch = pick(rng, (1, 2, 3))
        small = rng.standard_normal((height // patch + 1, width // patch + 1, 3), np.float32)
        light = light + cv2.resize(small, (width, height)) * strength * rng.uniform(0.3, 1)
    return light.astype(np.float32)
