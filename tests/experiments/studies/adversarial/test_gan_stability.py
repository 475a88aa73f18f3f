"""What the gan-stability experiment measures, on samples and losses that are known."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from experiments import catalogue
from experiments.adversarial import gan_stability, methods, pacing, targets
from experiments.adversarial.gan_stability import findings, movement, oscillation, train
from experiments.adversarial.gan_stability.config import EXACT, NOISE
from gendiff import adversarial
from gendiff.commands import command_line
from gendiff.runs import vmapped_seeds
from gendiff.runs.study import Measurements
from gendiff.training import sharding
from tests.adversarial import game
from tests.experiments.studies import smoke
from tests.tables import table

FULL = gan_stability.EXPERIMENT.presets["full"]
FEW = dataclasses.replace(
    FULL, paces=(0.5, 1.0), seeds=(0, 1, 2), points=dataclasses.replace(FULL.points, samples=500, last_samples=1000)
)
RUNS = (2, 3)
WHITE = np.random.default_rng(0).normal(size=(*RUNS, 2000))
SWINGING = 0.3 * WHITE + np.sin(2 * np.pi * np.arange(2000) / 32)


CENTRES = targets.POINTS[targets.GRID]().centres


def finding(name, modes, losses, turns=0):
    """As if every run had drawn the centres of so many modes, and of half of them by turns in the later part."""
    samples = np.broadcast_to(np.resize(CENTRES[:modes], (1000, 2)), (*RUNS, 1000, 2))
    half = modes // 2
    parts = [CENTRES[:half], CENTRES[half : 2 * half]] if turns else [CENTRES[:modes]] * 2
    over_time = [np.resize(parts[min(time, turns) % 2], (*RUNS, 500, 2)) for time in range(FEW.intervals + 1)]
    return findings.summed_up(FEW, name, [samples] * len(FEW.shares), losses, np.array(over_time))


def claims(plain, diffusion, losses, turns=2):
    """Of runs in which the plain GAN and diffusion cover so many modes, and the loss of the plain GAN is this one."""
    results = {
        methods.VANILLA: finding(methods.VANILLA, plain, losses, turns),
        methods.PENALISED: finding(methods.PENALISED, plain, WHITE),
        methods.DIFFUSION: finding(methods.DIFFUSION, diffusion, WHITE),
    }
    results |= {name: findings.control(FEW, name) for name in (EXACT, NOISE)}
    measured = Measurements(gan_stability.measured(FEW, results))
    return {claim.id: claim for claim in gan_stability.STUDY.judge(measured)}


def test_a_plain_gan_that_fails_and_swings_passes_every_claim():
    verdicts_by_id = claims(20, 25, SWINGING)
    assert {claim.verdict for claim in verdicts_by_id.values()} == {"PASS"}
    assert verdicts_by_id["plain-runs"].value == -1 and verdicts_by_id["travelled"].value == pytest.approx(2)
    assert verdicts_by_id["diffusion-travelled"].value == verdicts_by_id["penalised-travelled"].value
    all_findings = {
        methods.VANILLA: finding(methods.VANILLA, 20, WHITE),
        methods.DIFFUSION: finding(methods.DIFFUSION, 25, WHITE),
    }
    p_value = findings.against_diffusion(FEW, all_findings, methods.VANILLA)
    assert p_value == pytest.approx(2 / 924)  # one table of C(12, 6) on either side


def test_a_plain_gan_that_succeeds_and_is_steady_fails_the_claims_about_it_and_diffusion_that_fails_fails_its_own():
    same = claims(25, 25, WHITE, turns=0)
    assert {id for id, claim in same.items() if claim.verdict == "FAIL"} >= {"oscillation", "travelled"}
    assert not {same[id].verdict for id in ("plain-runs", "diffusion-travelled", "penalised-travelled")} & {"PASS"}
    assert claims(20, 25, SWINGING, turns=1)["travelled"].verdict == "FAIL"  # there, and not back
    worse = claims(25, 24, SWINGING)
    assert {id for id, claim in worse.items() if claim.verdict == "FAIL"} == {"diffusion", "plain-runs"}


def test_a_run_with_all_modes_but_few_good_samples_is_no_success_and_a_lost_run_is_a_failure():
    samples = np.array(np.broadcast_to(np.resize(targets.POINTS[targets.GRID]().centres, (1000, 2)), (1, 2, 1000, 2)))
    samples[0, 0, 750:] = train.bounded(np.full((250, 2), np.nan))
    samples[0, 1] = train.bounded(np.full((1000, 2), np.inf))
    outcome = findings.summed_up(FEW, methods.VANILLA, [samples], np.zeros((1, 2, 0)), samples[None])
    assert (
        outcome.modes.tolist() == [[25, 0]]
        and outcome.good.tolist() == [[0.75, 0]]
        and not outcome.succeeded(FEW).any()
    )


def test_samples_travel_by_the_share_that_goes_to_other_modes_and_a_mode_is_regained_after_its_loss():
    at = [[0] * 4, [0] * 3 + [1], [1] * 4, [0] * 4, [0] * 4]
    samples = CENTRES[np.array(at)] + 0.001
    shares = movement.masses(samples)
    assert shares.shape == (5, 25) and shares[1, :2].tolist() == [0.75, 0.25]
    assert movement.travelled(shares).tolist() == [0, 0.25, 1, 2, 2]
    is_covered = movement.covered(samples)
    assert is_covered[:, :2].tolist() == [[True, False], [True, True], [False, True], [True, False], [True, False]]
    assert movement.returns(is_covered) == 1
    far = movement.masses(train.bounded(np.full((1, 8, 2), np.nan)))
    assert far.sum() == far.max() == 1


def test_an_exact_sampler_of_other_samples_travels_by_chance_alone_and_less_than_once_there_and_back():
    exact = findings.control(dataclasses.replace(FULL, seeds=(0,)), EXACT)
    assert 1.5 < movement.travelled(movement.masses(exact.over_time))[-1].mean() < 2


def test_white_noise_has_its_share_of_slow_swings_whatever_its_trend_and_a_wave_has_nearly_all_of_them():
    white = oscillation.spectrum(WHITE[0, 0], 128)
    expected = white.white(128, 8)
    assert expected == pytest.approx(0.24, abs=0.01) and white.share(128, 8) == pytest.approx(expected, abs=0.04)
    falling = oscillation.spectrum(WHITE[0, 0] - 0.01 * np.arange(2000), 128)
    assert falling.share(128, 8) == pytest.approx(white.share(128, 8), abs=0.01)
    wave = oscillation.spectrum(np.sin(2 * np.pi * np.arange(2000) / 32), 128)
    assert wave.share(128, 8) > 0.99 and wave.period == pytest.approx(32)
    assert oscillation.spectrum(np.sin(2 * np.pi * np.arange(2000) / 5), 128).share(128, 8) < 0.01
    holes = np.where(np.arange(2000) % 100 == 7, np.nan, WHITE[0, 0])
    assert oscillation.spectrum(holes, 128).share(128, 8) == pytest.approx(expected, abs=0.04)


@table("curve", [np.zeros(100), np.ones(3), np.full(100, np.nan)])
def test_a_curve_without_a_spectrum_counts_in_no_mean(curve):
    assert np.isnan(oscillation.spectrum(curve, 128).share(128, 8)) and np.isnan(
        oscillation.spectrum(curve, 128).period
    )
    vanilla = finding(methods.VANILLA, 25, np.stack([[curve] * 3, [np.resize(WHITE[0, 0], len(curve))] * 3]))
    assert len(vanilla.swings(FEW)) == (3 if len(curve) > 10 else 0)
    assert np.isnan(findings.mean(vanilla.swings(FEW)[:1])).all()


def test_a_factor_in_the_state_is_one_on_the_learning_rate():
    gradients = [{"w": np.array(values, np.float32)} for values in ([1.0, -2.0], [0.5, 3.0], [-1.0, 0.1])]
    for make in (lambda rate: optax.adam(rate, b1=0.5, b2=0.9), optax.rmsprop):
        slower, usual = make(2e-3), pacing.paced(make(1e-2))
        params, (one, other) = (
            gradients[0],
            (slower.init(gradients[0]), usual.init(gradients[0])._replace(pace=np.float32(0.2))),
        )
        for gradient in gradients:
            expected, one = slower.update(gradient, one, params)
            updates, other = usual.update(gradient, other, params)
            np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-6)


def test_runs_of_one_program_have_their_own_seed_and_their_own_pace():
    optimizer = pacing.paced(optax.adam(1e-2))

    def fresh(key, pace):
        params = {"kernel": jax.random.normal(jax.random.fold_in(key, 9), (2, 2)), "bias": np.zeros(2, np.float32)}
        critic = {"inner": np.ones((2, 4), np.float32), "outer": np.ones(4, np.float32)}
        return pacing.at_pace(adversarial.start(params, critic, optimizer, optimizer, key, ema=()), pace)

    paces, seeds = zip(*train.runs(dataclasses.replace(FEW, seeds=(3, 5))), strict=True)
    assert paces == (0.5, 0.5, 1.0, 1.0) and seeds == (3, 5, 3, 5)
    run = vmapped_seeds.compile_step(
        game.noisy(), fresh, seeds, sharding.mesh(), arguments=(np.array(paces, np.float32),)
    )
    states = run.fresh(jax.random.key(0))
    for player in (states.generator, states.critic):
        assert player.optimizer_state.pace.tolist() == list(paces)
    kernels = states.params["kernel"]
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], kernels[1])


@pytest.mark.slow
def test_a_finished_run_is_sampled_at_each_learning_rate(tmp_path, capsys):
    folder = tmp_path / "run"
    smoke.run("gan-stability", folder, capsys)
    for words in (["--pace", "0.5"], ["--method", "diffusion", "--trained-seed", "1"]):
        assert command_line.main(["sample", str(folder), *words, "--num", "30"], catalogue.EXPERIMENTS) == 0
    samples = [np.load(file)["samples"] for file in sorted(folder.glob("samples_of_*.npz"))]
    assert [each.shape for each in samples] == [(30, 2)] * 2 and all(
        (folder / f"{file.stem}.png").exists() for file in folder.glob("samples_of*")
    )
    assert command_line.main(["sample", str(folder), "--pace", "3"], catalogue.EXPERIMENTS) == 2
    assert "--pace 3.0 is none of --paces 0.5 1.0" in capsys.readouterr().err
