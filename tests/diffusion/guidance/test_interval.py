"""Where a scale that depends on the level is 1, the conditional network alone is asked, and nothing else changes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from gendiff.diffusion import guidance, parameterization, samplers
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.types import Level
from tests.diffusion.reports import Reports
from tests.quickly import in_numpy

LEVELS = diffusion.grids.trailing(diffusion.schedules.cosine(100), 5)
RATIOS = np.asarray(LEVELS.sigma / LEVELS.alpha)[:-1]
LOW, HIGH = float(RATIOS[3] + RATIOS[2]) / 2, float(RATIOS[0] + RATIOS[1]) / 2
INSIDE, STEPS, LABELS = 2, 5, np.array([0, 1, 2], np.int32)
ROWS = Reports()


def network(params, x, t, label):
    ROWS.add(x.shape[0])
    hint = 0.2 * label.astype(x.dtype) + 0.01 * t.astype(x.dtype)
    return jnp.tanh(jnp.asarray(params, x.dtype) * x + hint[:, None])


RULES = {
    "classifier_free": guidance.classifier_free,
    "rescaled": lambda *pair, **how: guidance.classifier_free(*pair, rescale=0.7, **how),
    "adaptive_projected": lambda *pair, **how: guidance.adaptive_projected(*pair, eta=0.3, norm_threshold=0.1, **how),
}


def guided(rule, gain, scale, batched=False):
    denoise = diffusion.from_network(network, gain, parameterization.velocity(), LABELS)
    return RULES[rule](denoise, denoise.with_condition(gd.NO_LABEL), scale, batched=batched)


def within(rule, batched, values, full=False):
    """Guided inside of the interval; `whole` by numbers, that is with both predictions at every level."""
    gain, scale = values
    strength = guidance.interval(scale, LOW, HIGH)

    def both(x, level):
        return guided(rule, gain, strength(level), batched)(x, level)

    return both if full else guided(rule, gain, strength, batched)


def draw(rule, batched, values, full=False):
    return diffusion.sample(
        jax.random.key(0), within(rule, batched, values, full), samplers.ddim(), LEVELS, (4,), np.arange(3)
    )


SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in (("rescaled", False), ("adaptive_projected", False))]
CASES = [("classifier_free", True), *SLOW]
VALUES = np.float32(0.7), np.float32(3.0)


@pytest.mark.parametrize(("rule", "batched"), CASES)
def test_outside_of_the_interval_the_conditional_network_alone_is_asked_and_draws_stay(rule, batched):
    programs = (in_numpy(partial(draw, rule, batched, full=full)) for full in (False, True))
    (x, rows), (expected, whole_rows) = (ROWS.during(program, VALUES) for program in programs)
    assert rows == len(LABELS) * (STEPS + INSIDE) and whole_rows == len(LABELS) * 2 * STEPS
    np.testing.assert_allclose(x, expected, atol=2e-5)


def test_gradients_by_parameters_and_scale_are_those_of_both_predictions():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)

    def total(values, full):
        denoise = within("rescaled", False, values, full)
        return jnp.sum(jax.lax.map(lambda level: denoise(x, level).clean, LEVELS[:-1]) ** 2)

    @in_numpy
    def slopes(values):
        return [jax.grad(total)(values, full) for full in (False, True)]

    result, expected = slopes(VALUES)
    np.testing.assert_allclose(result, expected, rtol=1e-4)
    assert abs(result[1]) > 1e-3


def test_a_rule_that_asks_both_everywhere_is_caught(monkeypatch):
    """The mistake is planted."""
    monkeypatch.setattr(JointCall, "__call__", lambda self, x, level, first_only=False: self._all(x, level))
    _, rows = ROWS.during(in_numpy(partial(draw, "classifier_free", False)), VALUES)
    assert rows == len(LABELS) * 2 * STEPS != len(LABELS) * (STEPS + INSIDE)


def test_mapped_over_levels_and_at_levels_on_both_sides_the_predictions_are_those_of_one_level():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    rule, three = guided("classifier_free", 0.7, guidance.interval(3.0, LOW, HIGH)), LEVELS[jnp.array([0, 2, 4])]

    @in_numpy
    def run(levels):
        mapped = jax.vmap(lambda level: rule(x, level).clean)(levels)
        return [rule(x, levels[j]).clean for j in range(3)], mapped, rule(x, levels).clean

    singles, mapped, each = jax.device_get(run(three))
    np.testing.assert_allclose(mapped, singles, atol=1e-5)
    np.testing.assert_allclose(each, [singles[j][j] for j in range(3)], atol=1e-5)


def test_numbers_are_not_looked_at_and_any_function_of_the_level_is():
    """By how often each of four networks is asked, in one program."""
    calls = []
    scales = (1.0, lambda level: 1.0, lambda level: jnp.ones(3), lambda level: jnp.array([1.0, 1.0, 2.0]))

    def counting(number):
        def predict(params, x, t, label):
            jax.debug.callback(lambda: calls.append(number))
            return x * params + 0.1 * label[:, None]

        return diffusion.from_network(predict, 0.7, parameterization.velocity(), LABELS)

    @in_numpy
    def run(x):
        each = [counting(number) for number in range(4)]
        return [
            guidance.classifier_free(one, one.with_condition(-1), scale)(x, LEVELS[1]).clean
            for one, scale in zip(each, scales, strict=True)
        ]

    jax.block_until_ready(run(np.ones((3, 4), np.float32)))
    jax.effects_barrier()
    assert [calls.count(number) for number in range(4)] == [2, 1, 1, 2]


def test_an_interval_holds_its_upper_end_and_not_its_lower_one():
    at = partial(Level, 0.0, 1.0)
    scale = guidance.interval(3.0, 0.5, 2.0)
    assert [float(scale(at(sigma))) for sigma in (0.25, 0.5, 0.75, 2.0, 2.5)] == [1, 1, 3, 3, 1]
    assert float(guidance.interval(3.0, 0.5, np.inf)(Level(0.0, 0.0, 1.0))) == 3  # no signal at all


def test_reversed_ends_are_refused():
    with pytest.raises(ValueError, match="low = 5.0 is above high = 0.2"):
        guidance.interval(3.0, 5.0, 0.2)
