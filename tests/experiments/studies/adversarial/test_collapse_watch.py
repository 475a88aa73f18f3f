"""The watch tells during a training when its generator collapses, and not before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.adversarial import collapse_watch
from experiments.tasks import mixtures
from gendiff import adversarial, training
from gendiff.adversarial import losses, watch
from tests.adversarial import game

LAW = mixtures.unit_ring()


def likes_one_point(params, x):
    """A critic to which the more looks real the nearer it lies to the first mode."""
    return params["scale"] * -jnp.sum((x - jnp.asarray(LAW.centres[:1], x.dtype)) ** 2, -1)


@pytest.mark.slow
def test_a_generator_whose_critic_likes_one_point_is_called_collapsed_once_its_samples_lie_there():
    reports = []
    optimizer, noise = (optax.sgd(0.05), optax.sgd(0.0)), adversarial.normal_noise(2)
    params = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}, {"scale": jnp.ones(())}
    index = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    reference = np.asarray(LAW.draw(jax.random.key(0), 200))
    look = collapse_watch.looking(
        lambda params: game.generate(params, index), 5, lambda *report: reports.append(report), reference=reference
    )
    run = training.compile_step(
        adversarial.make_step(game.generate, likes_one_point, losses.wasserstein(), *optimizer, noise=noise),
        lambda key: adversarial.start(*params, *optimizer, key, ema=()),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    training.fit(run, lambda step: game.batch(step, 64), steps=40, on_state=look)
    assert [step for step, _ in reports] == list(range(5, 45, 5))
    verdicts = [report.verdict for _, report in reports]
    assert verdicts[0] == watch.SPREAD and verdicts[-1] == watch.COLLAPSED
    assert verdicts == sorted(verdicts, reverse=True)  # it does not come back
    ratios = [report.ratio for _, report in reports]
    assert ratios == sorted(ratios, reverse=True) and ratios[-1] < 0.1


def test_a_report_is_one_line_with_its_reasons():
    samples = np.repeat(LAW.centres[:2], 50, axis=0) + 0.001
    line = collapse_watch.described(7, watch.report(samples, centres=LAW.centres, std=LAW.std))
    assert line.startswith("step 7: collapsed; 2 of 8 modes, 100% good; mean distance") and line.endswith(
        "exact samples reach"
    )
    assert collapse_watch.described(1, watch.report(np.full((4, 2), np.nan), samples)) == "step 1: not finite"
