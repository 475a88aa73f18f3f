"""How time and memory grow: exponents of known costs, those of theory, and a program that is called again and again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.scaling import growth
from experiments.scaling.growth import Growth, Program, Sweep
from gendiff.runs.reporting import intervals
from gendiff.runs.study import Measurements
from tests.quickly import quickly
from tests.tables import table

SIZES = np.array([16.0, 64.0, 256.0])
SMOKE = growth.EXPERIMENT.smoke


@table("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(power):
    costs = 3 * SIZES**power
    assert intervals.exponent(SIZES, costs) == pytest.approx(power, abs=1e-12)
    noisy = np.stack([costs, 100 * costs, costs])  # an outlier among the rounds
    assert intervals.exponent(SIZES, noisy) == pytest.approx(power, abs=1e-12)


def test_what_exceeds_theory_is_the_difference_of_exponents_and_a_claim_judges_it():
    seconds = np.repeat((SIZES**1.5)[:, None], 5, 1)
    costs = Growth(SIZES, seconds, 8 * SIZES**2, 2 * SIZES, seconds * SIZES[:, None])
    judged = growth.judged(SMOKE, growth.DEPTH, costs, memory=1.0)
    expected = {"time": 1.5, "time in theory": 1.0, "time above": 0.5, "memory": 2.0, "memory above": 1.0}
    for name, value in (expected | {"compiling above": 1.5}).items():
        np.testing.assert_allclose(judged.measures[name], value, atol=1e-9)


def test_theory_has_time_in_proportion_to_images_and_above_it_for_attention():
    def slope(program, *sizes, power=1):
        return intervals.exponent(np.array(sizes, float) ** power, np.array([program(size).flops for size in sizes]))

    assert slope(growth.SWEEPS[growth.BATCH].program, 4, 16) == pytest.approx(1.0)
    assert 1.0 < slope(growth.SWEEPS[growth.TRAINED].program, 16, 32, power=2) < 2.0
    assert 0.0 < slope(growth.next_token, 128, 512) < 1.0 < slope(growth.uncached, 128, 512) < 2.0


def test_the_whole_text_costs_as_much_read_in_chunks_as_at_once():
    assert growth.reading(64).flops == growth.uncached(64).flops


def test_a_program_that_carries_its_cache_answers_the_same_again(monkeypatch):
    monkeypatch.setattr(jax, "jit", quickly)
    program = growth.next_token(12)
    work = program.work(program.compiled()[0])
    first, again = (np.asarray(work()[0]) for _ in range(2))
    assert first.shape[-1] == growth.WRITER["vocabulary"] and first.std() > 0
    np.testing.assert_array_equal(first, again)


def test_a_sweep_measures_every_size_and_compiles_anew_where_that_is_asked():
    def product(size):
        return Program(lambda x: x @ x, (jnp.ones((size, size)),), 2.0 * size**3)

    config = dataclasses.replace(SMOKE, batches=(8, 16), rounds=3)
    costs = growth.swept(config, Sweep("batches", product, 2.0, power=2, compiles=True))
    assert costs.x.tolist() == [64.0, 256.0] and costs.seconds.shape == (2, 3) and costs.compiling.shape == (2, 3)
    assert intervals.exponent(costs.x, costs.flops) == pytest.approx(1.5)
    assert costs.nbytes.tolist() == [2 * 4 * 64, 2 * 4 * 256], "the argument and the result"


def test_every_quantity_has_claims_but_those_that_are_controls():
    measured = Measurements(
        growth.judged(SMOKE, name, Growth(SIZES, np.ones((3, 2)), SIZES, SIZES, np.ones((3, 2))), 1.0)
        for name in (*growth.SWEEPS, growth.DEVICES)
    )
    claims = {(row.set, row.measure) for row in growth._claims()}
    of_controls = {name for name, _ in claims} & set(growth.CONTROLS)
    assert not of_controls and len(claims) == 2 * (len(measured) - 2) + 1
    assert all(name in each.measures for each in measured for set_, name in claims if set_ == each.name)


@pytest.mark.slow
def test_devices_of_one_cpu_share_a_batch():
    costs, memory = growth.over_devices(SMOKE)
    assert 0.0 < memory < 1.0
    assert costs.x.tolist() == [1.0, 2.0] and (costs.flops == costs.flops[0]).all() and (costs.seconds > 0).all()
