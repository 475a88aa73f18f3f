"""The invariance experiment: every way draws the same samples, wrong samplers are seen, traces are counted, and a smoke
run is whole.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import invariance
from experiments.diffusion.invariance import differences, draw, last_bits, traces, wrong
from experiments.diffusion.invariance.config import WAYS, model
from gendiff.core import records
from gendiff.diffusion import samplers, schedules
from gendiff.diffusion.samplers.catalogue import METHODS
from gendiff.diffusion.sampling import Sampler, State
from gendiff.runs.progress import Progress
from tests.experiments.studies import smoke
from tests.tables import table

CONFIG = dataclasses.replace(
    invariance.EXPERIMENT.smoke, samples=8, alone=2, small=4, crowd=10, chunk=3, ways=WAYS, trace_steps=(2, 3)
)


@records.record
class Scaling(Sampler):
    """A sampler that multiplies x by a factor in every step."""

    factor: float = 0.0

    def step(self, noise, denoise, state, level, cleaner, left):
        return State(self.factor * state.x)


@pytest.fixture(scope="module")
def programs():
    return draw.oracle_programs(CONFIG, schedules.cosine())


def case(programs, sampler, trajectory=False):
    return draw.Case("test", programs, draw.oracle(), sampler, trajectory=trajectory)


def compare(programs, sampler, names, trajectory=False):
    ways = draw.ways(CONFIG)
    return differences.compare(case(programs, sampler, trajectory), [ways[name] for name in names], ways["reference"])


def test_every_way_draws_the_same_noise_bit_for_bit(programs):
    compared = compare(programs, draw.Recorder(), CONFIG.ways, trajectory=True)
    assert set(compared.by_way) == {draw.ways(CONFIG)[name].how for name in CONFIG.ways}
    assert compared.worst == 0 and compared.samples == 8 * 10 + 2
    noise = compared.drawn["8 at once"]
    assert noise.shape == (8, CONFIG.sampling_steps + 1, 8, 8, 1)
    assert len(np.unique(noise)) > 0.999 * noise.size  # no two samples, and no two steps, have the same noise


def test_ways_differ_by_rounding_at_most_and_controls_by_more(programs):
    assert compare(programs, samplers.ddim(1.0), ("chunks", "vmap")).worst <= 5e-6
    exact, noise = case(programs, samplers.ddim()), case(programs, draw.Recorder(), trajectory=True)
    assert differences.control(exact, wrong.NEIGHBOURLESS, CONFIG).worst <= 5e-6
    for sampler in (wrong.ONE_KEY, wrong.SHARED_NORMS):
        assert 3e-4 < differences.control(exact, sampler, CONFIG).worst < np.inf
    shared = differences.control(noise, wrong.OneKeyNoise(), CONFIG)
    assert 0.5 < shared.worst <= 3 / 4  # x_T is drawn before the sampler begins


def test_last_bits_of_what_is_given_are_the_unit_of_differences(programs):
    reference = draw.ways(CONFIG)["reference"]
    for sampler, least, most in (
        (Scaling(0.0), 1.1e-7, 1.2e-7),
        (Scaling(1.0), 1e-7, 3e-7),
        (Scaling(8.0), 2e-7, 3e-5),
    ):
        assert least < last_bits.largest_change(case(programs, sampler), reference) < most
    for sampler in (samplers.ddim(), samplers.ddim(1.0)):
        still = case(programs, last_bits.Nudged(sampler, 0)).draw(reference)
        moved = case(programs, last_bits.Nudged(sampler, 1)).draw(reference)
        assert 0 < differences.difference(moved, still) < 1e-5
        assert differences.difference(still, case(programs, sampler).draw(reference)) < 5e-6
    noise, moved = (
        case(programs, recorder, True).draw(reference)
        for recorder in (draw.Recorder(), last_bits.Nudged(draw.Recorder(), 1))
    )
    assert np.mean(np.abs(moved[:, 1:].view(np.int32) - noise[:, 1:].view(np.int32)) == 1) > 0.99


def test_orders_are_permutations_and_others_are_left_out(programs):
    ways = draw.ways(CONFIG)
    assert set(ways) == {"reference", *WAYS}
    for way in ways.values():
        assert sorted(way.order) == list(range(len(way.order)))
        assert way.together is None or len(way.order) % way.together == 0
    assert ways["crowd"].others == (8, 9)


def test_differences_are_measured_against_the_size_of_the_samples():
    expected = np.full((2, 3), 10.0, np.float32)
    assert differences.difference(expected + np.float32(0.5), expected) == pytest.approx(0.05)
    assert differences.difference(expected / 100 + np.float32(0.5), expected / 100) == pytest.approx(0.5)
    assert differences.difference(expected * np.nan, expected) == np.inf
    assert differences.unequal(np.float32([0.0, 1.0]), np.float32([-0.0, 1.0])) == 0.5


@table("name", ["churn", "ddpm learned"])
def test_a_sampler_rebuilt_with_other_numbers_keeps_its_trace_and_heeds_them(name):
    method = METHODS[name]
    counted, calls = traces.of_sampler(method, CONFIG), 4 * len(traces.variants(method))
    assert (counted.traces, counted.calls, counted.own) == (1, calls, calls) and calls == (8 if method.numbers else 4)


def test_a_static_count_and_an_ignored_setting_are_seen():
    static = traces.of_static(CONFIG)
    assert static.traces == len(CONFIG.trace_steps) and static.share == 1

    def deaf(params, x, t, label):
        return jnp.zeros_like(x)

    network = dataclasses.replace(model(CONFIG), predict=deaf, shape=(2, 2, 1))
    counted = traces.of_model(network, traces.small_params(), CONFIG)
    assert counted.traces == 1 and counted.share < 1


def test_a_sampler_whose_package_is_absent_is_left_out_aloud(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = dataclasses.replace(CONFIG, samplers=("fixed_path",))
    assert list(invariance.every_sampler(config, Progress())) == []
    assert "it needs diffrax" in capsys.readouterr().out


@pytest.mark.slow
def test_a_smoke_run_leaves_everything_and_finds_every_way_the_same(tmp_path, capsys):
    results = smoke.run("invariance", tmp_path / "run", capsys)
    assert [claim["id"] for claim in results["claims"] if claim["verdict"] != "PASS"] == []
    columns = {column for table in results["tables"] for column in table["columns"]}
    assert {"on 8 devices", "shuffled"} <= columns


def test_presets_are_sound():
    full, smoke = invariance.EXPERIMENT.presets["full"], invariance.EXPERIMENT.smoke
    for config in (full, smoke):
        assert config.samples % 8 == 0 and config.samples % config.small == 0
        assert set(config.ways) <= set(WAYS) and set(config.samplers) <= set(METHODS)
    assert jax.default_backend() == "cpu"
