"""How a prompt is drawn where options leave it open, and the levels that its steps visit."""

import dataclasses
import math

import numpy as np
import pytest

from experiments.diffusion import text_to_image
from gendiff.commands.text_to_image import drawing, networks, options
from gendiff.commands.text_to_image.networks import Normalisation, Trained
from gendiff.commands.text_to_image.options import EDITED, FROM_NOISE, RESOLVED, Sampling
from gendiff.core.errors import ConfigError
from gendiff.diffusion import grids
from tests.tables import table

CONFIG = text_to_image.EXPERIMENT.smoke
PIXELS = Trained(CONFIG, networks.FROZEN, {})
LATENTS = Trained(CONFIG, networks.EMOJI, {}, Normalisation(0.9, 0.1, 0.02))
UNKNOWN = Trained(CONFIG, networks.EMOJI, {}, Normalisation(0.9, 0.1))


@table(
    ("chosen", "edited", "expected"),
    [
        ((None, None, None), False, FROM_NOISE),
        ((None, None, 3), False, dataclasses.replace(FROM_NOISE, steps=3)),
        ((None, None, None), True, EDITED),
        ((None, None, 3), True, dataclasses.replace(EDITED, steps=3)),
        (("heun", None, None), False, dataclasses.replace(EDITED, sampler="heun")),
        ((None, RESOLVED, None), False, dataclasses.replace(EDITED, levels=RESOLVED)),
        (("unipc-2", RESOLVED, 8), True, Sampling("unipc-2", RESOLVED, 8)),
    ],
)
def test_what_is_said_holds_and_the_rest_is_the_default(chosen, edited, expected):
    result = options.sampling(*chosen, edited=edited)
    assert result == expected
    # what the settings of a picture say draws it again
    assert options.sampling(result.sampler, result.levels, result.steps, edited=edited) == result


def test_the_levels_are_those_of_the_grid_between_the_limits_of_the_data():
    for limits, resolution in ((PIXELS, 2 / 255), (LATENTS, 0.02 * math.sqrt(12))):
        assert limits.resolution == pytest.approx(resolution)
        schedule, norm = limits.model.schedule, math.sqrt(math.prod(limits.model.shape))
        expected = grids.resolved(schedule, 8, resolution=resolution, norm=norm)
        result = drawing.visited_levels(limits, Sampling("unipc-2", RESOLVED, 8))
        np.testing.assert_array_equal(result.alpha, expected.alpha)
        np.testing.assert_array_equal(result.sigma, expected.sigma)
    trailing = grids.trailing(UNKNOWN.model.schedule, FROM_NOISE.steps)
    np.testing.assert_array_equal(drawing.visited_levels(UNKNOWN, FROM_NOISE).sigma, trailing.sigma)


@table(("grid", "limits", "message"), [("resolvd", PIXELS, "did you mean"), (RESOLVED, UNKNOWN, "use trailing")])
def test_a_grid_that_is_none_or_that_the_network_does_not_have_is_refused(grid, limits, message):
    with pytest.raises(ConfigError, match=message):
        drawing.visited_levels(limits, options.sampling(None, grid, 4))
