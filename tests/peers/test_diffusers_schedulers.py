"""Configurations of schedulers beside diffusers itself: its fields, and the stored ends of its draws."""

import inspect

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from gendiff.pipelines.diffusers_schedulers import configurations, from_config  # noqa: E402
from tests.pipelines.diffusers_schedulers.cases import CASES, TO_MIN, scheduler_config  # noqa: E402
from tests.pipelines.diffusers_schedulers.make_fixture import run  # noqa: E402
from tests.pipelines.diffusers_schedulers.test_like_diffusers import FIXTURE, ours  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

UNREAD = {"LCMScheduler": {"set_alpha_to_one", "steps_offset", "timestep_spacing"}}
"""Fields that a class takes and does not use."""


@pytest.mark.parametrize("name", configurations.DEFAULTS)
def test_fields_and_defaults_are_those_of_the_class(name):
    takes = inspect.signature(getattr(diffusers, name).__init__).parameters
    theirs = {field: parameter.default for field, parameter in takes.items() if field != "self"}
    assert {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in theirs.items()
        if field not in UNREAD.get(name, ())
    } == dict(configurations.DEFAULTS[name])


@pytest.mark.parametrize("name", configurations.DEFAULTS)
def test_what_the_class_saves_is_accepted(name):
    config = next(case.config for case in CASES.values() if case.config["_class_name"] == name)
    saved = dict(getattr(diffusers, name).from_config(config).config)
    from_config(saved | {"_class_name": name})


@pytest.mark.parametrize("name", CASES)
def test_stored_ends_are_those_of_the_installed_version_and_ours(name):
    end, timesteps = run(CASES[name])
    # from a level of 4096 in float32, another processor rounds by up to 1.3e-5
    limit = 3e-5 if name == "Euler at zero terminal SNR" else 1e-5
    np.testing.assert_allclose(end, FIXTURE[f"{name}: end"], atol=limit * max(1.0, np.abs(end).max()))
    np.testing.assert_allclose(timesteps, FIXTURE[f"{name}: t"], atol=1e-4)
    np.testing.assert_allclose(ours(name), end, atol=1e-4 * max(1.0, np.abs(end).max()))


@pytest.mark.parametrize("spread", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])
@pytest.mark.parametrize("name", ["UniPCMultistep", "EulerDiscrete"])
def test_levels_between_limits_end_where_those_of_the_class_do(name, spread):
    config = scheduler_config(name, TO_MIN, {spread: True}, sigma_min=0.05, sigma_max=12.0)
    theirs = getattr(diffusers, config["_class_name"]).from_config(config)
    theirs.set_timesteps(10)
    levels = from_config(config, like_diffusers=True).grid(10)
    np.testing.assert_allclose(levels.sigma / levels.alpha, theirs.sigmas.numpy(), rtol=3e-5)
    np.testing.assert_allclose(levels.t[:-1], theirs.timesteps.numpy(), atol=2e-3)
