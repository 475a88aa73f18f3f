"""What every objective of distillation keeps: a mean over samples, a function of its key, a gradient for the student
alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core import records
from gendiff.diffusion import distillation
from tests.diffusion.distillation import catalogue
from tests.quickly import in_numpy
from tests.refusals import Ends, ends
from tests.tables import table


@functools.cache
def compiled(name, count=catalogue.B):
    """(key, batch) -> loss with its metrics, and gradients by the parameters and by all frozen trees, in 64 bits."""
    case = catalogue.case(name, count=count)
    differentiate = in_numpy(jax.value_and_grad(case.loss, (0, *range(3, 3 + len(case.frozen))), has_aux=True))
    return lambda seed, batch: differentiate(catalogue.params(), jax.random.key(seed), batch, *case.frozen)


def value(name, batch, seed=0):
    return float(compiled(name)(seed, batch)[0][0])


@pytest.mark.float64
@pytest.mark.parametrize("name", catalogue.LOSSES)
def test_value_metrics_and_gradient_are_finite_in_the_dtype_of_the_samples_and_frozen_trees_get_none(float64, name):
    case = catalogue.case(name)
    (loss, metrics), (gradient, *frozen) = compiled(name)(0, case.batch)
    assert loss.shape == () and loss.dtype == jnp.float64 and np.isfinite(loss)
    assert metrics and all(each.shape == () and np.isfinite(each) for each in metrics.values())
    assert all(np.isfinite(leaf) and leaf != 0 for leaf in jax.tree.leaves(gradient))
    assert all(leaf == 0 for leaf in jax.tree.leaves(frozen[:2])), "a critic alone may move the loss"


@pytest.mark.float64
@table("name", catalogue.LOSSES)
def test_it_is_a_function_of_its_key(float64, name):
    batch = catalogue.case(name).batch
    assert value(name, batch) == value(name, batch) != value(name, batch, seed=1)


@pytest.mark.float64
@table("name", catalogue.LOSSES)
def test_no_sample_enters_the_part_of_another(float64, name):
    """The loss of two changed samples is the sum of both changes: it is a sum over samples, whatever a batch has in
    common.
    """
    batch = catalogue.case(name).batch

    def changed(*which):
        label, clean = np.array(batch.condition[0]), np.array(batch.clean)
        label[list(which)] += 2
        clean[list(which)] *= 3
        return value(name, records.replace(batch, clean=jnp.asarray(clean), condition=(jnp.asarray(label),)))

    full, first, second = value(name, batch), changed(1), changed(4)
    assert abs(first - full) > 1e-6 and abs(second - full) > 1e-6
    assert changed(1, 4) - full == pytest.approx((first - full) + (second - full), abs=1e-12)


@table("name", catalogue.LOSSES)
def test_training_takes_it_with_its_frozen_trees_whole_or_in_slices(name):
    """Traced in 32 bits."""
    case = catalogue.case(name, jnp.float32)
    state = training.start(catalogue.params(dtype=jnp.float32), optax.sgd(0.1), jax.random.key(0))
    for accumulate in (1, 3):
        step = training.make_step(case.loss, optax.sgd(0.1), accumulate=accumulate)
        after, metrics = jax.eval_shape(step, state, case.batch, *case.frozen)
        assert jax.tree.map(lambda leaf: leaf.dtype, after) == jax.tree.map(lambda leaf: leaf.dtype, state)
        assert metrics["loss"].dtype == jnp.float32 and metrics["finite"].shape == ()


def test_slices_of_equal_samples_at_one_level_give_the_step_of_the_whole_batch():
    pairs = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), catalogue.case("reflow", jnp.float32).batch
    )
    loss = distillation.reflow(
        catalogue.network, catalogue.FLOW, levels=lambda key, schedule, count: schedule.at(jnp.full(count, 0.5))
    )
    state = training.start(catalogue.params(dtype=jnp.float32), optax.sgd(0.1), jax.random.key(0), ())
    steps = [training.make_step(loss, optax.sgd(0.1), accumulate=n) for n in (1, 3)]
    full, sliced = in_numpy(lambda state, pairs: [step(state, pairs)[0].params for step in steps])(state, pairs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), full, sliced)


def loss_named(name, **settings):
    return getattr(distillation, name)(catalogue.network, catalogue.FLOW, catalogue.VELOCITY, **settings)


test_numbers_are_taken_up_to_the_ends_of_their_ranges_and_refused_beyond_them = ends(
    Ends(lambda value: loss_named("guidance_distillation", scales=(value, 5.0)), "scales", 0.0, 5.0),
    Ends(lambda value: loss_named("guidance_distillation", scales=(0.0, value)), "scales", 0.0, open_high=True),
    Ends(lambda value: loss_named("shortcut", steps=value), "steps", 2),
    Ends(lambda value: loss_named("shortcut", share=value), "share", 0.0, 1.0),
    Ends(lambda value: loss_named("mean_flow", interval_share=value), "interval_share", 0.0, 1.0),
    Ends(lambda value: loss_named("mean_flow", power=value), "power", 0.0, open_high=True),
    Ends(lambda value: loss_named("mean_flow", mix=value), "mix", 0.0, 1.0, open_high=True),
    Ends(
        lambda value: distillation.distribution_matching(catalogue.GENERATE, catalogue.FLOW, adversary_weight=value),
        "adversary_weight",
        0.0,
        open_high=True,
    ),
    Ends(distillation.pseudo_huber, "c", 0.0, open_low=True, open_high=True),
)


def test_every_loss_of_the_package_is_in_the_catalogue():
    """A new one that is missing there is not tested."""
    others = {
        "Pairs",
        "average_velocity",
        "boundary",
        "consistency",
        "doubling_intervals",
        "draw_pairs",
        "every_other_level",
        "init_from_teacher",
        "inverse_gap",
        "jump",
        "matching_direction",
        "mean_flow_target",
        "mean_square",
        "one_step",
        "positions",
        "pseudo_huber",
        "straightness",
        "two_halves_in_one",
        "two_steps_in_one",
        "two_times",
        "with_condition",
    }
    assert set(distillation.__all__) - others == catalogue.LOSSES.keys()
