"""Certificates: right samplers get the order of their theory, wrong ones are caught, and nothing is asserted that was
not measured.
"""

import dataclasses
import functools
import json

import jax.numpy as jnp
import pytest

from gendiff.core import records
from gendiff.diffusion import certify, oracles, samplers, sampling, schedules
from gendiff.diffusion.certify import METHODS, Method
from gendiff.diffusion.certify import certify as certified
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Level

pytestmark = pytest.mark.numbers

FLOW = schedules.flow()
QUICK = {"steps": (8, 16), "starts": 4}


@functools.cache
def ddim_certified(name=None, seed=0):
    return certified(samplers.ddim(), name, seed=seed, **QUICK)


def failures(certificate):
    """What the method's theory states and the certificate does not show."""
    agreeing, holding = (
        {curve.kind for curve in certificate.curves if curve.agrees},
        {case.name for case in certificate.cases if case.holds},
    )
    wide = set() if certificate.shortfall is None or certificate.shortfall <= certify.certificate.WITHIN else {"wide"}
    return (set(certificate.method.stated) - agreeing) | (set(certificate.method.exact) - holding) | wide


# A sampler of a user's own, and wrong ones.


@records.record
class Explicit(sampling.Sampler):
    """A sampler whose step is rule(slope, y, ratio, width) in y = x / alpha against sigma / alpha, so for alpha > 0
    only.
    """

    rule: object = records.static()

    def step(self, noise, denoise, state, level, cleaner, left):
        def slope(y, ratio):
            at = FLOW.at_log_snr(-2 * jnp.log(ratio))
            return denoise(at.alpha * y, at).noise

        ratio, to = level.sigma / level.alpha, cleaner.sigma / cleaner.alpha
        return sampling.State(cleaner.alpha * self.rule(slope, state.x / level.alpha, ratio, to - ratio))

    def evaluations(self, steps):
        return 2 * steps


def midpoint(slope, y, ratio, width):
    return y + width * slope(y + width / 2 * slope(y, ratio), ratio + width / 2)


def wrong_weights(slope, y, ratio, width):
    """Heun's method with 0.4 and 0.6 in place of a half each."""
    first = slope(y, ratio)
    return y + width * (0.4 * first + 0.6 * slope(y + width * first, ratio + width))


@records.record
class PreviousTimestep(sampling.Sampler):
    """DDIM to the level at t - 1000 // n, with t = 1000 sigma of the flow, in place of the grid's next one."""

    def init(self, x):
        return sampling.State(x, jnp.zeros((), int))

    def step(self, noise, denoise, state, level, cleaner, left):
        sigma = jnp.maximum(level.t - 1000 // (state.memory + left + 1), 0.0) / 1000
        moved = ancestral.ddim_step(denoise(state.x, level), level, Level(1000 * sigma, 1 - sigma, sigma))
        return sampling.State(moved, state.memory + 1)


@records.record
class Changed(sampling.Sampler):
    """Another sampler with `change(moved, x, level, noise)` in place of where it moves x, and with `t` as what the
    network is told.
    """

    sampler: object
    change: object = records.static(default=lambda moved, x, level, noise: moved)
    t: object = records.static(default=lambda t: t)

    def step(self, noise, denoise, state, level, cleaner, left):
        def prediction_at(x, level):
            return denoise(x, records.replace(level, t=self.t(level.t)))

        moved = self.sampler.step(noise, prediction_at, state, level, cleaner, left)
        return records.replace(moved, x=self.change(moved.x, state.x, level, noise))


def another_t(t):
    return t - 1.0


def too_far_at_much_noise(moved, x, level, noise):
    """10 % too far above sigma/alpha 2.5."""
    return jnp.where((level.sigma > 2.5 * level.alpha) & (level.alpha > 0), x + 1.1 * (moved - x), moved)


def doubled_without_signal(moved, x, level, noise):
    return jnp.where(level.alpha == 0, 2 * moved, moved)


def noisy(moved, x, level, noise):
    return moved + 1e-3 * noise(x, 9)


def nowhere(moved, x, level, noise):
    return moved * jnp.nan


HEUN, DDIM = (
    (samplers.heun(), "heun", (16, 32, 64, 128, 256)),
    (samplers.ddim(0.6), "ddim stochastic", (64, 128, 256, 512, 1024)),
)


@pytest.mark.parametrize(
    ("method", "wrong", "expected"),
    [
        (HEUN, {}, set()),
        (HEUN, {"t": another_t}, {"time"}),
        (HEUN, {"change": too_far_at_much_noise}, {"wide"}),
        (HEUN, {"change": doubled_without_signal}, {"pure noise"}),
        (DDIM, {}, set()),
        pytest.param(DDIM, {"t": another_t}, {"time"}, marks=pytest.mark.slow),
        (DDIM, {"change": too_far_at_much_noise}, {"wide"}),
        pytest.param(DDIM, {"change": doubled_without_signal}, {"pure noise"}, marks=pytest.mark.slow),
    ],
    ids=[
        f"{wrong}-{name}"
        for name in ("heun", "stochastic ddim")
        for wrong in ("nothing", "another t", "10 % too far", "doubled")
    ],
)
def test_what_is_wrong_fails_and_nothing_else(method, wrong, expected):
    sampler, name, steps = method
    certificate = certified(Changed(sampler, **wrong), name, steps=steps, starts=8)
    assert failures(certificate) == expected and certificate.passes == (not expected)
    assert ("FAIL" in str(certificate)) == bool(expected)


@pytest.mark.parametrize(
    ("sampler", "method", "expected"),
    [
        (Explicit(wrong_weights), Method("heun", order=2, exact=()), {"flow", "wide"}),
        (PreviousTimestep(), "ddim", {"flow", "wide", "point mass", "pure noise"}),
        (Explicit(midpoint), Method("midpoint", order=2), {"few steps", "time"}),
        (Changed(samplers.ddim(), noisy), Method("noisy", exact=("last step",)), {"last step"}),
        (
            Changed(samplers.ddim(), nowhere),
            Method("nowhere", order=1, exact=("point mass",)),
            {"flow", "wide", "point mass"},
        ),
        (samplers.ddim(1.0), Method("no flow", order=1), {"flow"}),
        (samplers.ddim(), Method("no law", weak=1), {"weak"}),
    ],
    ids=[
        "wrong weights",
        "previous timestep",
        "not from pure noise",
        "noise in the last step",
        "nowhere",
        "no flow",
        "no law",
    ],
)
def test_a_sampler_that_is_not_what_its_theory_says_is_caught(sampler, method, expected):
    certificate = certified(sampler, method, steps=(16, 32, 64, 128, 256), starts=8)
    assert failures(certificate) == expected and not certificate.passes


def test_a_sampler_of_your_own_is_certified_in_three_lines(capsys):
    certificate = certify.certify(
        Explicit(midpoint), certify.Method("midpoint", order=2, exact=("point mass",)), starts=8
    )
    print(certificate)

    curve = certificate.curve("flow")
    assert curve.fit.low <= curve.fit.order <= curve.fit.high and curve.evaluations == tuple(2 * n for n in curve.steps)
    printed = capsys.readouterr().out
    assert "midpoint (—): PASS" in printed and "flow order 2, 2.0" in printed and "2048         4096" in printed


# The setting.


@pytest.mark.parametrize("build", [schedules.edm, schedules.cosine, schedules.scaled_linear])
def test_other_processes_give_the_same_order(build):
    certificate = certified(samplers.heun(), "heun", schedule=build(), steps=HEUN[2], starts=8)
    assert not failures(certificate)


def test_other_oracles_give_the_same_order():
    certificate = certified(
        samplers.heun(),
        "heun",
        oracle=oracles.correlated([0.3, -0.2], [[1.0, 0.4], [0.4, 0.3]]),
        steps=HEUN[2],
        starts=8,
    )
    assert not failures(certificate) and certificate.setting.startswith("CorrelatedGaussian")


# What is not measured is not asserted.


def test_an_order_that_cannot_be_fitted_does_not_pass():
    certificate = ddim_certified("ddim")
    assert (
        failures(certificate) == {"flow"}
        and certificate.curve("flow").agrees is None
        and "not fitted: 0 of 4 doublings" in str(certificate)
    )


def test_without_theory_everything_is_measured_and_nothing_asserted():
    certificate = ddim_certified()
    assert certificate.passes and certificate.curve("flow").stated is None and "nothing stated" in str(certificate)


@pytest.mark.usefixtures("unchecked")
def test_a_mistake_in_the_sampler_is_not_taken_for_a_missing_order():
    def broken(moved, x, level, noise):
        raise ValueError("a mistake of the sampler's own")

    with pytest.raises(ValueError, match="a mistake"):
        certified(Changed(samplers.ddim(), broken), **QUICK)


# The record.


def test_a_certificate_is_a_function_of_its_arguments_becomes_json_and_leaves_the_precision_alone():
    one, again, other = ddim_certified("ddim"), certified(samplers.ddim(), "ddim", **QUICK), ddim_certified("ddim", 1)
    assert one == again and one.curves != other.curves
    assert json.loads(json.dumps(dataclasses.asdict(one)))["curves"][0]["steps"] == [8, 16]
    assert jnp.ones(()).dtype == jnp.float32


@pytest.mark.usefixtures("unchecked")
def test_what_is_unknown_is_refused_by_name():
    with pytest.raises(ValueError, match="did you mean 'ddim'"):
        certified(samplers.ddim(), "dim")
    with pytest.raises(ValueError, match="double"):
        certified(samplers.ddim(), steps=(8, 12), starts=4)
    with pytest.raises(ValueError, match=r"steps = \(\)"):
        certified(samplers.ddim(), steps=())
    with pytest.raises(ValueError, match="starts"):
        certified(samplers.ddim(), starts=1)
    with pytest.raises(ValueError, match="weak"):
        certified(samplers.ddim(), **QUICK).curve("weak")


def test_the_table_names_every_method_once_with_its_source():
    for name, method in METHODS.items():
        assert method.name == name and method.source != "—"
        assert (
            {"few steps", "time"} <= set(method.exact) <= {"point mass", "last step", "few steps", "time", "pure noise"}
        )
        assert not (method.order and (method.weak or method.strong))
    with pytest.raises(TypeError):
        METHODS["mine"] = Method("mine")
