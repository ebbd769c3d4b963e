"""Masks of known shape, size and place."""

import numpy as np


def blank(height=120, width=150):
    return np.zeros((height, width), dtype=bool)


def ellipse(height, width, x, y, a, b, angle=0.0):
    """Centre, half axes in pixels, and the angle of the first in degrees."""
    rows, columns = np.mgrid[:height, :width]
    turn = np.deg2rad(angle)
    u = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    v = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


def polygon(height, width, corners):
    """Convex, corners (x, y) in the order of the hands of a clock, as they look on the screen."""
    rows, columns = np.mgrid[:height, :width]
    inside = np.ones((height, width), dtype=bool)
    for (x, y), (to_x, to_y) in zip(corners, [*corners[1:], corners[0]], strict=True):
        inside &= (to_x - x) * (rows - y) - (to_y - y) * (columns - x) >= 0
    return inside


def turned(corners, angle, x, y):
    turn = np.deg2rad(angle)
    return [
        (x + u * np.cos(turn) - v * np.sin(turn), y + u * np.sin(turn) + v * np.cos(turn))
        for u, v in corners
    ]
