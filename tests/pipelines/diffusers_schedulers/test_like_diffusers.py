"""On request, grid, steps and start are those of diffusers, whose ends on a cheap network are stored beside
(make_fixture.py).
"""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from gendiff.pipelines.diffusers_schedulers import configurations, from_config, methods
from tests.pipelines.diffusers_schedulers.cases import CASES, START, TO_MIN, network, scheduler_config
from tests.pipelines.diffusers_schedulers.walks import walk
from tests.tables import table

pytestmark = pytest.mark.numbers

FIXTURE = load_file(pathlib.Path(__file__).with_name("fixture.safetensors"))
ONE_OF_EACH = (
    *(
        "PNDM between its levels",
        "DDIM between its levels",
        "DDPM",
        "Euler between timesteps",
        "Euler ancestral of SDXL Turbo",
        "Heun",
    ),
    *("multistep", "single step", "UniPC", "LCM", "flow of FLUX"),
)
"""The others draw in `make test-slow`, and beside diffusers in `make test-peers`."""


def built(name, like_diffusers=True):
    case = CASES[name]
    scheduler = from_config(case.config, like_diffusers=like_diffusers)
    return scheduler, scheduler.sampler(case.steps), scheduler.grid(case.steps, tokens=case.tokens, sigmas=case.sigmas)


def ours(name):
    """Where the draw ends."""
    scheduler, sampler, levels = built(name)

    def predicted(x, level):
        return scheduler.parameterization.predict(x, network(x, level.t, jnp), level)

    x = START * float(scheduler.temperature(levels) * levels.sigma[0])
    return walk(sampler, scheduler.limited(predicted), levels, x)


@pytest.mark.parametrize(
    "name", [name if name in ONE_OF_EACH else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_a_draw_ends_where_that_of_diffusers_does(name):
    theirs = FIXTURE[f"{name}: end"]
    np.testing.assert_allclose(ours(name), theirs, atol=1e-4 * max(1.0, np.abs(theirs).max()))


@table("name", CASES)
def test_the_network_is_told_the_timesteps_of_diffusers(name):
    _, _, levels = built(name)
    theirs = FIXTURE[f"{name}: t"]
    timesteps = theirs[np.append(True, np.diff(theirs) != 0)]  # some ask twice at one timestep
    # and at the middle of three steps
    timesteps = timesteps if name != "PNDM with Runge-Kutta" else timesteps[[0, 2, 4, *range(6, len(timesteps))]]
    np.testing.assert_allclose(levels.t[:-1], timesteps, atol=2e-3)


@table("name", [*ONE_OF_EACH[:2], "Euler between timesteps", "Heun", "multistep 3", "single step", "flow of SD 3"])
def test_the_published_form_is_another_one(name):
    """Else the option would do nothing."""
    (_, theirs, levels), (_, published, grid) = built(name), built(name, like_diffusers=False)
    assert theirs != published or np.abs(np.asarray(levels.sigma) - np.asarray(grid.sigma)).max() > 1e-4


def test_every_class_that_steps_in_its_own_way_has_a_case():
    for names in (CASES, ONE_OF_EACH):
        classes = {CASES[name].config["_class_name"] for name in names}
        assert classes == set(configurations.DEFAULTS) == set(methods.METHODS) == set(methods.AS_SHIPPED)
    assert set(FIXTURE) == {f"{name}: {part}" for name in CASES for part in ("end", "t")}


@table("spread", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])
def test_only_unipc_ends_at_the_limit_of_its_spread_where_others_end_at_the_first_level_of_the_chain(spread):
    def last_two(name, **limits):
        levels = from_config(scheduler_config(name, TO_MIN, limits, **{spread: True}), like_diffusers=True).grid(10)
        return np.asarray(levels.sigma / levels.alpha, np.float64)[-2:]

    first = (0.00085 / (1 - 0.00085)) ** 0.5
    np.testing.assert_allclose(last_two("UniPCMultistep", sigma_min=0.05), [0.05, 0.05], rtol=3e-5)
    np.testing.assert_allclose(last_two("UniPCMultistep"), [first, first], rtol=3e-5)
    np.testing.assert_allclose(last_two("EulerDiscrete", sigma_min=0.05), [0.05, first], rtol=3e-5)


def test_timesteps_that_leave_the_table_of_diffusers_are_refused():
    scheduler = from_config({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}, like_diffusers=True)
    with pytest.raises(
        ValueError, match="steps = 61: diffusers leaves its table of 1000 timesteps here, from 999 to -1"
    ):
        scheduler.grid(61)


@table(
    "name, ours",
    [
        ("DDIM of SD 2.1", False),
        ("multistep", False),
        ("Euler of SDXL", False),
        ("Euler between timesteps", True),
        ("LCM", False),
    ],
)
def test_most_draws_of_diffusers_start_from_unit_noise_and_ours_from_sigma(name, ours):
    for like_diffusers in (False, True):
        scheduler = from_config(CASES[name].config, like_diffusers=like_diffusers)
        levels = scheduler.grid(4)
        std = float(scheduler.temperature(levels) * levels.sigma[0])
        assert std == pytest.approx(float(levels.sigma[0]) if ours or not like_diffusers else 1.0)
