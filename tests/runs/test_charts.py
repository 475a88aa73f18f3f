"""Families of curves and contours: what they draw, and what they refuse."""

import numpy as np
import pytest
from PIL import Image

from gendiff.runs.reporting import contours, families, figures
from gendiff.runs.reporting.families import Member
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure
from tests.tables import table

X, Y = np.geomspace(1e6, 1e9, 8), np.geomspace(1e8, 1e12, 5)
HEIGHTS = X[None, :] ** -0.1 + Y[:, None] ** -0.1
NAMES = {"x_label": "parameters", "y_label": "loss"}


def members(*numbers):
    return [
        Member(number, X, X**-0.1 / number, X, X**-0.1 / number, mark=(X[3], X[3] ** -0.1 / number))
        for number in numbers
    ]


def hue(path, colour):
    """How many opaque pixels have nearly this colour."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA")).astype(int)
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int(((np.abs(pixels[..., :3] - channels).max(-1) < 3) & (pixels[..., 3] > 200)).sum())


def test_a_family_has_the_first_tone_for_its_least_number_and_the_last_for_its_largest(tmp_path):
    family = families.families(
        members(9, 1, 3), tmp_path / "a.png", "Loss", **NAMES, number_label="budget", marks="minima"
    )
    assert family == Figure("a.png", "Loss")
    assert hue(tmp_path / "a.png", families.TONES[0]) > 100 and hue(tmp_path / "a.png", families.TONES[-1]) > 100


def test_contours_show_paths_and_places(tmp_path):
    for name, more in (
        ("bare", {}),
        ("full", {"paths": [Curve("best", X, 1e3 * X)], "places": {"mine": (1e7, 1e10)}, "dots": (X, 1e3 * X)}),
    ):
        contours.contours(
            X,
            Y,
            HEIGHTS,
            tmp_path / f"{name}.png",
            "",
            levels=[0.2, 0.3],
            dashed=[Curve("1e15", X, 1e15 / X)],
            **NAMES,
            **more,
        )
    blue = [hue(tmp_path / f"{name}.png", figures.COLOURS[0]) for name in ("bare", "full")]
    assert blue[1] > blue[0] + 300


@table(
    ("draw", "message"),
    [
        (lambda path: families.families([], path, "", number_label="", **NAMES), "at least one member"),
        (lambda path: families.families(members(-1, 1), path, "", number_label="", **NAMES), "numbers above 0"),
        (
            lambda path: contours.contours(Y, X, HEIGHTS, path, "", levels=[0.2], **NAMES),
            r"heights \(5, 8\) of 8 and 5 places",
        ),
        (lambda path: contours.contours(X, Y, HEIGHTS, path, "", levels=[], **NAMES), "at 0 levels"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_no_file_is_written(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
