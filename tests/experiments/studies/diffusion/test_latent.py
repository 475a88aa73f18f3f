"""The latent experiment: times to equal quality are exact, seconds become steps once per run, and claims can fail."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.diffusion import latent
from experiments.diffusion.latent import budget, costs, networks, time_to_quality, train
from experiments.diffusion.latent.budget import StepTimes
from experiments.diffusion.latent.costs import Cost
from experiments.diffusion.latent.figures import WITH, after
from experiments.diffusion.latent.networks import AUTOENCODER, LATENTS, MODELS, PIXELS, averages
from experiments.diffusion.latent.sets import Drawing, OfSeed
from experiments.diffusion.latent.time_to_quality import Reached
from experiments.diffusion.part_averages import PartAverages
from gendiff.commands.images.image_model import Model
from gendiff.core import trees
from gendiff.core.errors import DataError
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.step_benchmark import StepBenchmark
from gendiff.runs.study import Measurements
from tests.tables import table

FULL = latent.EXPERIMENT.presets["full"]
CONFIG = dataclasses.replace(
    FULL,
    seconds=240.0,
    fractions=(0.25, 0.5, 1.0),
    resamples=50,
    cost_rounds=9,
    autoencoder=dataclasses.replace(FULL.autoencoder, train_steps=400),
)
SECONDS = np.array([60.0, 120.0, 240.0])


def law(seconds, scale):
    """A distance that falls with the root of the seconds."""
    return scale / np.sqrt(np.asarray(seconds))


@table("when", [60.5, 100.0, 120.0, 239.0])
def test_the_time_to_a_quality_is_exact_on_a_power_law(when):
    speedup = time_to_quality.reach(SECONDS, law(SECONDS, 9.0), law(when, 9.0))
    assert speedup.bound == "" and speedup.seconds == pytest.approx(when, rel=1e-9)
    assert time_to_quality.at_equal_time(SECONDS, law(SECONDS, 9.0), when) == pytest.approx(law(when, 9.0), rel=1e-9)


def test_the_first_crossing_counts_and_a_distance_of_zero_is_reached_at_its_point():
    assert time_to_quality.reach(SECONDS, [4.0, 1.0, 3.0], 2.0).seconds == pytest.approx(60 * math.sqrt(2))
    assert time_to_quality.reach(SECONDS, [4.0, 0.0, 0.0], 2.0) == Reached(120.0)


def test_times_beyond_both_ends_of_a_curve_are_bounds_and_say_so():
    curve = law(SECONDS, 9.0)
    assert time_to_quality.reach(SECONDS, curve, law(10.0, 9.0)) == Reached(60.0, "at most")
    assert time_to_quality.reach(SECONDS, curve, law(1000.0, 9.0)) == Reached(240.0, "more than")
    assert math.isnan(time_to_quality.at_equal_time(SECONDS, curve, 59.0))


def draws(curve):
    """Every draw of a point is its mean, so that intervals have no width."""
    return SECONDS, np.repeat(np.asarray(curve)[:, None], 4, axis=1)


def test_a_model_that_is_three_times_as_fast_is_found_so_and_what_it_owes_is_added():
    slower, faster = draws(law(SECONDS, 9.0)), draws(law(3 * SECONDS, 9.0))
    plain = time_to_quality.speedup(slower, faster, resamples=20)
    assert plain.ratio == pytest.approx((3.0, 3.0, 3.0)) and plain.bound == ""
    owing = time_to_quality.speedup(slower, faster, resamples=20, owed=40.0)
    assert owing.ratio[0] == pytest.approx(240 / (80 + 40)) and owing.faster.seconds == pytest.approx(120)


def test_a_ratio_of_bounded_times_is_a_bound_in_the_right_direction():
    slower = draws(law(SECONDS, 9.0))
    early, never = (time_to_quality.speedup(slower, draws(law(SECONDS, scale)), resamples=20) for scale in (1.0, 90.0))
    assert early.ratio[0] == pytest.approx(4) and early.bound == "at least"
    assert never.ratio[0] == pytest.approx(1) and never.bound == "at most"
    flat = time_to_quality.speedup(draws([3.0, 3.0, 3.0]), draws([1.0, 1.0, 1.0]), resamples=20)
    assert flat.bound == "unknown"  # neither time is known


def test_an_interval_holds_the_ratio_of_noisy_draws_and_narrows_with_them():
    rng = np.random.default_rng(0)

    def noisy(spread, scale):
        return SECONDS, law(SECONDS, scale)[:, None] * rng.normal(1, spread, (3, 40))

    wide, narrow = (
        time_to_quality.speedup(noisy(spread, 9.0), noisy(spread, 9.0 / math.sqrt(2)), resamples=200).ratio
        for spread in (0.1, 0.01)
    )
    assert wide[1] < 2 < wide[2] and narrow[1] < 2 < narrow[2]
    assert wide[2] - wide[1] > 4 * (narrow[2] - narrow[1])


def times(latents=0.02, pixels=0.5, autoencoder=0.4, encoding=0.3):
    rounds = {LATENTS: latents, PIXELS: pixels, AUTOENCODER: autoencoder, budget.ENCODING: encoding}
    seconds = {name: (value, 9 * value, value) for name, value in rounds.items()}  # a slow round changes no median
    return StepTimes(seconds, dict.fromkeys(rounds, 1e9), dict.fromkeys(rounds, 2**20))


def test_steps_follow_from_the_measured_seconds_and_are_at_least_one():
    step_times = times()
    assert step_times.steps(CONFIG, PIXELS) == (120, 240, 480) and step_times.steps(CONFIG, LATENTS) == (
        3000,
        6000,
        12_000,
    )
    np.testing.assert_allclose(step_times.spent(CONFIG, PIXELS), step_times.spent(CONFIG, LATENTS))
    assert times(pixels=1e6).steps(CONFIG, PIXELS) == (1, 1, 1)
    assert step_times.before_latents(CONFIG) == pytest.approx(CONFIG.autoencoder.train_steps * 0.4 + 2 * 25 * 0.3)


def test_the_steps_of_a_run_stay_when_it_goes_on_though_the_machine_is_slower_now(tmp_path, monkeypatch):
    folder, quiet = RunFolder(tmp_path), Progress(quiet=True)
    monkeypatch.setattr(budget, "_measure", lambda *_: times())
    first = budget.measured(CONFIG, folder, np.zeros(0), quiet)
    monkeypatch.setattr(budget, "_measure", lambda *_: times(pixels=5.0))
    assert budget.measured(CONFIG, folder, np.zeros(0), quiet) == first == budget.read(folder)
    (tmp_path / budget.FILE).write_text("{")
    with pytest.raises(DataError, match=budget.FILE):
        budget.measured(CONFIG, folder, np.zeros(0), quiet)


def predict(params, x, t, label):
    return params["scale"] * x + params["shift"]


def init(key):
    return {"scale": jnp.ones(()), "shift": jnp.zeros(())}


@pytest.fixture
def small(monkeypatch):
    """A network of two numbers in the place of both U-Nets."""
    schedule = schedules.flow(), parameterization.flow()
    monkeypatch.setattr(
        networks, "model", lambda config, name: Model(predict, init, *schedule, shape=(4, 4, 1), num_classes=1)
    )


def trained(config, folder, step_times):
    clean = np.random.default_rng(0).normal(size=(32, 4, 4, 1)).astype(np.float32)
    train.in_parts(config, PIXELS, clean, step_times, RunFolder(folder), Progress(quiet=True), seed=3)
    return [trees.paths(average) for average in averages(config, RunFolder(folder), PIXELS, 3).restore()]


@pytest.mark.slow
def test_a_training_in_parts_is_one_training_wherever_it_is_cut_off(tmp_path, small, monkeypatch):
    recipe = dataclasses.replace(CONFIG.pixels, batch=8, checkpoint_every=3, warmup=3)
    few = dataclasses.replace(CONFIG, seconds=8.0, fractions=(0.5, 1.0), pixels=recipe)
    full, cut = tmp_path / "whole", tmp_path / "cut"
    for path in (full, cut):
        path.mkdir()
    step_times = times(pixels=1.0)  # 4 and 8 steps
    straight = trained(few, full, step_times)
    assert len(straight) == 2 and all(
        straight[0][path].tobytes() != straight[1][path].tobytes() for path in straight[0]
    )
    with monkeypatch.context() as patch:  # killed after the steps of the first part, before its average was kept

        def dies(self, part, params):
            raise KeyboardInterrupt

        patch.setattr(PartAverages, "keep", dies)
        with pytest.raises(KeyboardInterrupt):
            trained(few, cut, step_times)
    for one, other in zip(straight, trained(few, cut, step_times), strict=True):
        assert {path: leaf.tobytes() for path, leaf in one.items()} == {
            path: leaf.tobytes() for path, leaf in other.items()
        }
    assert (full / PIXELS / "metrics.jsonl").read_bytes() == (cut / PIXELS / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_the_training_after_a_step_benchmark_compiles_nothing_more(tmp_path, small):
    clean = np.random.default_rng(0).normal(size=(16, 4, 4, 1)).astype(np.float32)
    folder = RunFolder(tmp_path)
    arguments = networks.training(CONFIG, folder, LATENTS, clean)
    benchmark = StepBenchmark(**arguments)
    for _ in range(2):
        assert np.isfinite(benchmark()["loss"])
    state = training_loop.train(**arguments, seed=0, steps=2, folder=folder, progress=Progress(quiet=True))
    assert int(state.step) == 2 and benchmark.flops > 0 and benchmark.peak > 0
    assert benchmark._step._cache_size() == 1


def cost(what, resolution, milliseconds):
    return Cost(
        costs.shape(what, resolution),
        tuple(1e-3 * milliseconds * np.linspace(0.99, 1.01, 9)),
        1e9 * milliseconds,
        2**20,
    )


def priced(pixels=640.0, latents=10.0, again=10.1, decoder=300.0):
    prices = {}
    for resolution in CONFIG.resolutions:
        share = (resolution / 512) ** 2
        for what, value in ((costs.PIXELS, pixels), (costs.LATENTS, latents), (costs.DECODER, decoder)):
            prices[what, resolution] = cost(what, resolution, share * value)
    return prices | {(costs.AGAIN, 512): cost(costs.LATENTS, 512, again)}


def judged(measured):
    return {claim.id: claim for claim in latent.STUDY.judge(Measurements(measured))}


def test_the_network_gets_64_times_fewer_positions_and_48_times_fewer_numbers_of_latents():
    pixels, latents = costs.shape(costs.PIXELS, 512), costs.shape(costs.LATENTS, 512)
    assert pixels == (512, 512, 3) and latents == (64, 64, 4)
    assert math.prod(pixels[:2]) / math.prod(latents[:2]) == 64 and math.prod(pixels) / math.prod(latents) == 48


def test_claims_of_cost_pass_for_a_ratio_of_64_and_fail_for_slow_latents_and_a_network_that_is_not_as_fast_as_itself():
    claims = judged(latent.at_largest(CONFIG, priced()))
    assert {claim.verdict for claim in claims.values()} == {"PASS"} and claims["evaluation"].value == pytest.approx(64)
    wrong = judged(latent.at_largest(CONFIG, priced(latents=30.0, again=60.0)))
    assert {id: claim.verdict for id, claim in wrong.items()} == dict.fromkeys(("evaluation", "null"), "FAIL")


def test_a_whole_picture_pays_for_its_decoder_once():
    value, low, high = costs.whole_picture(priced(), 512, 50, 50)
    assert value == pytest.approx(50 * 640 / (50 * 10 + 300)) and low == pytest.approx(high)


class FlatJudge:
    """Draws without spread in units of 1."""

    floor = np.ones(4)

    def ratio(self, first, second):
        return (np.mean(first) / np.mean(second),) * 3

    def in_floors(self, distances):
        return self.ratio(distances, self.floor)


def of_seed(latents, untrained=50.0, psnr=30.0):
    curves = {PIXELS: draws(law(SECONDS, 9.0))[1], LATENTS: draws(law(SECONDS, latents))[1]}
    return OfSeed(curves, np.ones(4), np.full(5, psnr), dict.fromkeys(MODELS, np.full(4, untrained)), {})


def quality(images):
    measured = [
        *latent.accounts(CONFIG, times(), FlatJudge(), images, 0),
        *latent.distances(CONFIG, times(), FlatJudge(), images, 0),
    ]
    return Measurements(measured), judged(measured)


def test_claims_of_quality_pass_for_better_latents():
    measured, claims = quality(of_seed(latents=9.0 / 2))
    assert {claim.verdict for claim in claims.values()} == {"PASS"}
    assert claims["equal-time"].value == pytest.approx(0.5) and claims["equal-quality"].value == pytest.approx(4)
    assert measured.mean(WITH, "speedup")[0] == pytest.approx(240 / (60 + times().before_latents(CONFIG)))


def test_claims_of_quality_fail_where_latents_are_worse_and_where_training_gained_nothing():
    _, claims = quality(of_seed(latents=90.0, untrained=0.5, psnr=20.0))
    assert {claim.verdict for claim in claims.values()} == {"FAIL"}


@pytest.mark.slow
def test_tables_hold_every_seed_part_and_resolution_and_say_what_is_a_bound():
    drawing = Drawing({name: (1.0, 1.0) for name in (*MODELS, "decoding")}, dict.fromkeys(MODELS, 2**20))
    small = {name: dataclasses.replace(getattr(CONFIG, name), channels=(8,)) for name in MODELS}
    measured, _ = quality(of_seed(latents=1.0))
    costing = [
        *latent.network_costs(dataclasses.replace(CONFIG, **small), times(), drawing),
        *latent.by_resolution(CONFIG, priced()),
    ]
    paid, distances, step, by_resolution, pictures = latent.STUDY.show(Measurements([*measured, *costing]))
    latents = paid.columns.index(f"{LATENTS}, s")
    assert [row[latents] for row in paid.rows] == ["at most 60.00", "at most 235.0"] and "at least" in paid.rows[0]
    assert [row[0] for row in step.rows] == [AUTOENCODER, PIXELS, LATENTS] and 12_000 in step.rows[2]
    assert len(by_resolution.rows) == 3 * len(CONFIG.resolutions) and len(pictures.rows) == len(CONFIG.resolutions)
    assert len(distances.rows) == 1 + 1 + 2 * len(CONFIG.fractions) + 2 and after(PIXELS, 1) in distances.rows[4]
