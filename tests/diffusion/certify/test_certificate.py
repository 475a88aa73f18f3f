"""Certificates: right samplers get the order of their theory, wrong ones are caught, and nothing is asserted that was not measured."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import arrays, records
from gendiff.diffusion import certify, oracles, sampling, schedules
from gendiff.diffusion.certify import METHODS, Method
from gendiff.diffusion.certify import certify as certified
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.types import Level

FLOW = schedules.flow()


# Samplers of a user's own: in x / alpha against sigma / alpha, so for alpha > 0 only.


def slope(denoise, y, ratio):
    level = FLOW.at_log_snr(-2 * jnp.log(ratio))
    return denoise(level.alpha * y, level).noise


@records.record
class Explicit(sampling.Sampler):
    """A sampler whose step is rule(slope, y, ratio, width) in x / alpha."""

    rule: object = records.static()

    def step(self, noise, denoise, state, level, cleaner, left):
        ratio, to = level.sigma / level.alpha, cleaner.sigma / cleaner.alpha
        moved = self.rule(lambda y, r: slope(denoise, y, r), state.x / level.alpha, ratio, to - ratio)
        return sampling.State(cleaner.alpha * moved)

    def evaluations(self, steps):
        return 2 * steps


@records.record
class Stepping(sampling.Sampler):
    """A sampler of one function."""

    function: object = records.static()

    def step(self, noise, denoise, state, level, cleaner, left):
        return self.function(noise, denoise, state, level, cleaner, left)


def midpoint(slope, y, ratio, width):
    return y + width * slope(y + width / 2 * slope(y, ratio), ratio + width / 2)


def wrong_weights(slope, y, ratio, width):
    """Heun's method with 0.4 and 0.6 in place of a half each."""
    first = slope(y, ratio)
    return y + width * (0.4 * first + 0.6 * slope(y + width * first, ratio + width))


def test_a_sampler_of_your_own_is_certified_in_three_lines(capsys):
    sampler = Explicit(midpoint)
    certificate = certify.certify(sampler, certify.Method("midpoint", order=2, exact=("point mass",)))
    print(certificate)

    curve = certificate.curve("flow")
    assert certificate.passes and curve.agrees and abs(curve.fit.order - 2) < 0.05
    assert curve.fit.low <= curve.fit.order <= curve.fit.high and curve.evaluations == tuple(2 * n for n in curve.steps)
    printed = capsys.readouterr().out
    assert "midpoint (—): PASS" in printed and "flow order 2, 2.0" in printed and "2048         4096" in printed


def test_wrong_weights_are_caught_with_order_one():
    found = certified(Explicit(wrong_weights), Method("heun", order=2))
    assert not found.passes and found.curve("flow").agrees is False and abs(found.curve("flow").fit.order - 1) < 0.05
    assert "FAIL" in str(found)


@records.record
class PreviousTimestep(sampling.Sampler):
    """DDIM to the level at t - 1000 // n, with t = 1000 sigma of the flow, in place of the grid's next one."""

    def init(self, x):
        return sampling.State(x, jnp.zeros((), int))

    def step(self, noise, denoise, state, level, cleaner, left):
        steps = state.memory + left + 1
        sigma = jnp.maximum(level.t - 1000 // steps, 0.0) / 1000
        moved = ancestral.ddim_step(denoise(state.x, level), level, Level(1000 * sigma, 1 - sigma, sigma))
        return sampling.State(moved, state.memory + 1)


def test_a_previous_timestep_that_is_not_the_grids_is_caught():
    found = certified(PreviousTimestep(), "ddim")
    assert not found.passes and not found.curve("flow").agrees
    assert min(found.curve("flow").errors) > 0.05  # it never converges


# The library's own.


@pytest.mark.parametrize("build", [ancestral.ddim, runge_kutta.euler])
def test_first_order_methods_are_certified(build):
    found = certified(build(), build.__name__)
    assert found.passes and not found.stochastic and [curve.kind for curve in found.curves] == ["flow"]
    assert abs(found.curve("flow").fit.order - 1) < 0.02
    assert {case.name for case in found.cases if case.holds} == {"point mass", "last step", "few steps"}


@pytest.mark.parametrize(
    ("sampler", "name"),
    [(ancestral.ddim(0.6), "ddim stochastic"), (ancestral.ddpm(), "ddpm small"), (ancestral.ddpm("large"), "ddpm large")],
    ids=["ddim", "small", "large"],
)
def test_ancestral_methods_have_weak_order_one_and_no_strong_order(sampler, name):
    found = certified(sampler, name)
    assert found.passes and found.stochastic and abs(found.curve("weak").fit.order - 1) < 0.02
    assert found.curve("strong").fit.order is None and found.curve("strong").agrees is None
    point = next(case for case in found.cases if case.name == "point mass")
    assert (point.holds, point.stated) == ((False, False) if name == "ddpm large" else (True, True))


@pytest.mark.parametrize("build", [schedules.edm, schedules.cosine, schedules.scaled_linear])
def test_other_processes_give_the_same_order(build):
    found = certified(ancestral.ddim(), "ddim", schedule=build())
    assert found.passes and abs(found.curve("flow").fit.order - 1) < 0.02


def test_other_oracles_give_the_same_order():
    found = certified(ancestral.ddim(), "ddim", oracle=oracles.correlated([0.3, -0.2], [[1.0, 0.4], [0.4, 0.3]]), starts=8)
    assert found.passes and abs(found.curve("flow").fit.order - 1) < 0.02
    assert found.setting.startswith("CorrelatedGaussian")


# Brownian paths.

FINE = 4096


@records.record
class Path(sampling.Sampler):
    """Euler-Maruyama on the reverse SDE in x / alpha against sigma² / alpha², along one Brownian path for each sample."""

    def noise_for_step(self, keys, step, level, cleaner):
        def moves(x):
            noise = arrays.normal(arrays.fold_in(keys, 2**31), jax.ShapeDtypeStruct((len(x), FINE, *x.shape[1:]), x.dtype))
            time = np.geomspace(2.0, 0.1, FINE + 1) ** 2
            moves = jnp.cumsum(jnp.sqrt(-np.diff(time)).reshape(1, -1, *[1] * (x.ndim - 1)) * noise, axis=1)
            return jnp.concatenate([jnp.zeros_like(moves[:, :1]), moves], axis=1)

        return moves

    def step(self, noise, denoise, state, level, cleaner, left):
        path = noise(state.x)
        ratio, to = level.sigma / level.alpha, cleaner.sigma / cleaner.alpha
        here, there = (jnp.round(FINE * jnp.log(2.0 / r) / math.log(20.0)).astype(int) for r in (ratio, to))
        score = -denoise(state.x, level).noise / ratio
        moved = state.x / level.alpha + (ratio**2 - to**2) * score + path[:, there] - path[:, here]
        return sampling.State(cleaner.alpha * moved)


def test_a_sampler_along_one_brownian_path_has_a_strong_order():
    """Euler-Maruyama with additive noise: 1 (Kloeden & Platen, 1992, Sec. 10.3)."""
    found = certified(Path(), Method("Euler-Maruyama", strong=1, exact=()), steps=(128, 256, 512, 1024, 2048))
    assert found.passes and found.stochastic and abs(found.curve("strong").fit.order - 1) < 0.15
    assert found.curve("weak").fit.order is None and "normal draws" in found.curve("weak").fit.reason  # its noise is not the steps' own
    assert "weak order —, not fitted" in str(found) and "point mass" not in [case.name for case in found.cases]


# What is not measured is not asserted.


def test_an_order_of_the_wrong_kind_does_not_pass():
    quick = {"steps": (8, 16), "starts": 4}
    assert not certified(ancestral.ddim(1.0), Method("ddim", order=1), **quick).passes
    assert not certified(ancestral.ddim(), Method("ddim", weak=1), **quick).passes


def test_an_order_that_cannot_be_fitted_does_not_pass():
    found = certified(ancestral.ddim(), "ddim", steps=(8, 16, 32), starts=4)
    assert not found.passes and found.curve("flow").agrees is None and "not fitted: 0 of 4 doublings" in str(found)


def test_without_theory_everything_is_measured_and_nothing_asserted():
    found = certified(ancestral.ddim(), steps=(8, 16), starts=4)
    assert found.passes and found.curve("flow").stated is None and "nothing stated" in str(found)


def test_a_sampler_that_is_not_finite_from_pure_noise_fails():
    found = certified(Explicit(midpoint), Method("midpoint", exact=("few steps",)), steps=(8, 16), starts=4)
    assert not found.passes and next(case.error for case in found.cases if case.name == "few steps") > 0


def noisy_end(noise, denoise, state, level, cleaner, left):
    x = ancestral.ddim_step(denoise(state.x, level), level, cleaner)
    return sampling.State(x + 1e-3 * noise(x))


def test_noise_in_the_last_step_is_caught():
    found = certified(Stepping(noisy_end), Method("noisy", exact=("last step",)), steps=(8, 16), starts=4)
    assert not found.passes and next(case.error for case in found.cases if case.name == "last step") > 1e-4


def broken(noise, denoise, state, level, cleaner, left):
    raise ValueError("a mistake of the sampler's own")


@pytest.mark.usefixtures("unchecked")
def test_a_mistake_in_the_sampler_is_not_taken_for_a_missing_order():
    with pytest.raises(ValueError, match="a mistake"):
        certified(Stepping(broken), steps=(8, 16), starts=4)


def nowhere(noise, denoise, state, level, cleaner, left):
    return sampling.State(state.x * jnp.nan)


def test_a_sampler_that_ends_nowhere_fails():
    found = certified(Stepping(nowhere), Method("nowhere", exact=("point mass",)), steps=(8, 16), starts=4)
    assert not found.passes and "not finite" in found.curve("flow").fit.reason and not any(case.holds for case in found.cases)


# The record.


def test_a_certificate_is_a_function_of_its_arguments_and_becomes_json():
    options = {"steps": (8, 16, 32), "starts": 4}
    one, again, other = (certified(ancestral.ddim(), "ddim", seed=seed, **options) for seed in (0, 0, 1))
    assert one == again and one.curves != other.curves
    assert json.loads(json.dumps(dataclasses.asdict(one)))["curves"][0]["steps"] == [8, 16, 32]


def test_a_certificate_leaves_the_precision_of_the_session_alone():
    certified(ancestral.ddim(), steps=(8, 16), starts=4)
    assert jnp.ones(()).dtype == jnp.float32


@pytest.mark.usefixtures("unchecked")
def test_what_is_unknown_is_refused_by_name():
    with pytest.raises(ValueError, match="did you mean 'ddim'"):
        certified(ancestral.ddim(), "dim")
    with pytest.raises(ValueError, match="double"):
        certified(ancestral.ddim(), steps=(8, 12), starts=4)
    with pytest.raises(ValueError, match="starts"):
        certified(ancestral.ddim(), starts=1)
    with pytest.raises(ValueError, match="weak"):
        certified(ancestral.ddim(), steps=(8, 16), starts=4).curve("weak")


def test_the_table_names_every_method_once_with_its_source():
    for name, method in METHODS.items():
        assert method.name == name and method.source != "—"
        assert set(method.exact) <= {"point mass", "last step", "few steps"} and "few steps" in method.exact
        assert not (method.order and (method.weak or method.strong))
    with pytest.raises(TypeError):
        METHODS["mine"] = Method("mine")
