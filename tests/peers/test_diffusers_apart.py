"""diffusers' schedulers that are driven in ways of their own, its tables of noise, and the timesteps that it visits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from gendiff.diffusion import grids, inversion, samplers, schedules  # noqa: E402
from gendiff.diffusion.samplers.predictor_corrector import langevin_step  # noqa: E402
from gendiff.diffusion.types import Level, Prediction  # noqa: E402
from tests.peers import diffusers_runs, diffusers_views, exact  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.float64, pytest.mark.filterwarnings("ignore")]

SD = schedules.scaled_linear()
SAME = 1e-9


# Driven in ways of their own.


def test_the_sde_solver_of_cogvideox_is_the_multistep_solver_with_eta_one():
    """It is handed its history, and draws twice in a step, of which the second counts."""
    kind = diffusers.CogVideoXDPMScheduler
    levels = grids.trailing(schedules.shifted(SD, 3**0.5), 10)  # its snr_shift_scale is 3
    start, drawn = exact.start(float(levels.alpha[0]), float(levels.sigma[0])), []
    with diffusers_runs.double(kind), diffusers_runs.noise_of(kind, lambda: exact.step_noise(len(drawn))):
        scheduler = kind(timestep_spacing="trailing", clip_sample=False)
        scheduler.set_timesteps(10)
        x, old, before = torch.as_tensor(start), None, None
        for call, t in enumerate(scheduler.timesteps):
            _, noise, _ = exact.predicted(jnp.asarray(x.numpy()), levels.alpha[call], levels.sigma[call])
            x, old = scheduler.step(torch.as_tensor(np.asarray(noise)), old, t, before, x, return_dict=False)
            before = t
            drawn.append(t)
    ours = exact.ours(samplers.dpm_solver_multistep(2, eta=1.0), levels, start)
    assert exact.worst(ours, x) < SAME


def inverted(steps, calls, kind="epsilon"):
    """How far DDIM's inversion from the clean level on ends from gendiff's, for a network that predicts `kind`."""
    kind_of_scheduler, target = diffusers.DDIMInverseScheduler, diffusers_views.TARGETS[kind]
    levels = jax.tree.map(lambda field: field[steps - calls :], grids.leading(SD, steps))
    x = exact.start(1.0, 0.0)
    with diffusers_runs.double(kind_of_scheduler):
        scheduler = kind_of_scheduler(**diffusers_runs.USUAL, prediction_type=kind)
        scheduler.set_timesteps(steps)
        result = torch.as_tensor(x)
        for call, t in enumerate(scheduler.timesteps[:calls]):
            noisier = levels[calls - 1 - call]
            clean, noise, _ = exact.predicted(jnp.asarray(result.numpy()), noisier.alpha, noisier.sigma)
            result = scheduler.step(torch.as_tensor(np.asarray(target.target(clean, noise, noisier))), t, result).prev_sample
    return exact.worst(inversion.ddim_invert(exact.oracle(), jnp.asarray(x), levels), result)


def test_ddim_inversion_is_the_same_for_noise_prediction_where_alpha_exceeds_sigma():
    """Elsewhere gendiff keeps the clean sample, the scheduler the noise. Velocity is read at a level for which it was not predicted."""
    assert inverted(10, 4) < SAME
    assert inverted(10, 10) == pytest.approx(0.179, rel=0.1)
    assert inverted(10, 4, "v_prediction") == pytest.approx(0.233, rel=0.1)


def exploding(steps):
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_min=0.01, sigma_max=20.0)
    with diffusers_runs.double(diffusers.ScoreSdeVeScheduler):
        scheduler.set_timesteps(steps, sampling_eps=0.0)
        scheduler.set_sigmas(steps, sampling_eps=0.0)
    sigma = np.append(scheduler.discrete_sigmas.numpy()[::-1], 0.0)
    return scheduler, Level(np.log(np.maximum(sigma, 1e-9)) / 4, np.ones_like(sigma), sigma)


def test_the_predictor_of_the_exploding_sde_is_ddpm_with_the_large_variance():
    kind, steps = diffusers.ScoreSdeVeScheduler, 10
    with diffusers_runs.double(kind):
        scheduler, levels = exploding(steps)
        x = start = torch.as_tensor(exact.start(1.0, levels.sigma[0]))
        for call in range(steps):
            with diffusers_runs.noise_of(kind, lambda call=call: exact.step_noise(call)):
                _, noise, _ = exact.predicted(jnp.asarray(x.numpy()), 1.0, levels.sigma[call])
                score = torch.as_tensor(-np.asarray(noise) / levels.sigma[call])
                moved = scheduler.step_pred(score, scheduler.timesteps[call], x)
                x = moved.prev_sample if call < steps - 1 else moved.prev_sample_mean
    ours = exact.ours(samplers.ddpm("large"), levels, start.numpy() / exact.length(levels[0]))
    assert exact.worst(ours, x) < SAME


@pytest.mark.parametrize("count", [1, exact.COUNT])
def test_the_corrector_is_a_langevin_step_for_a_batch_of_one_and_shares_its_norms_over_a_larger_one(count):
    kind, sigma = diffusers.ScoreSdeVeScheduler, 1.0
    x, drawn = exact.start(1.0, sigma)[:count], exact.step_noise(0)[:count]
    clean, noise, _ = exact.predicted(jnp.asarray(x), 1.0, sigma)
    with diffusers_runs.double(kind), diffusers_runs.noise_of(kind, lambda: drawn):
        scheduler = kind(snr=0.15)
        scheduler.set_timesteps(10)
        result = scheduler.step_correct(torch.as_tensor(-np.asarray(noise) / sigma), torch.as_tensor(x)).prev_sample
    ours = langevin_step(jnp.asarray(x), Prediction(clean, noise), Level(0.0, 1.0, sigma), noise=drawn, snr=0.15)
    if count == 1:
        assert exact.worst(ours, result) < SAME
    else:
        assert exact.worst(ours, result) == pytest.approx(0.0633, rel=0.1)


# Tables of noise, and timesteps.


@pytest.mark.parametrize(
    ("schedule", "config", "alpha_error", "sigma_error"),
    [
        (schedules.linear(), {"beta_schedule": "linear"}, 2e-7, 1e-4),
        (SD, diffusers_runs.USUAL, 5e-7, 2e-5),
        (schedules.cosine(), {"beta_schedule": "squaredcos_cap_v2"}, 7e-6, 3e-4),
        (schedules.zero_terminal_snr(SD), {**diffusers_runs.USUAL, "rescale_betas_zero_snr": True}, 2e-5, 2e-5),
    ],
    ids=["linear", "scaled_linear", "cosine", "zero_terminal_snr"],
)
def test_tables_are_the_same_in_double_precision_and_lose_digits_in_single(schedule, config, alpha_error, sigma_error):
    kind, table = diffusers.DDIMScheduler, schedule.table

    def errors(scheduler):
        level = diffusers_views.preserving(scheduler.alphas_cumprod.double().numpy())
        usable = table.alpha > 0
        return np.max(np.abs(level.alpha / np.where(usable, table.alpha, 1) - 1)[usable]), np.max(np.abs(level.sigma / table.sigma - 1))

    with diffusers_runs.double(kind):
        assert max(errors(kind(**config))) < 1e-11
    result = errors(kind(**config))
    assert alpha_error / 3 < result[0] < alpha_error and sigma_error / 3 < result[1] < sigma_error


def spacings(spacing):
    """(n, the scheduler's timesteps, ours) for every n."""
    scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing)
    for n in range(1, 1001):
        scheduler.set_timesteps(n)
        yield n, scheduler.timesteps.numpy(), np.asarray(getattr(grids, spacing)(SD, n).t)[:-1]


def wrong_targets(timesteps, n):
    """Whether t - T//n is another timestep than the next one of the grid."""
    return not np.array_equal(np.maximum(timesteps - 1000 // n, -1), np.append(timesteps[1:], -1))


def test_leading_timesteps_are_the_same_and_so_are_their_targets():
    for n, theirs, ours in spacings("leading"):
        assert np.array_equal(theirs, ours) and not wrong_targets(theirs, n)


def test_trailing_timesteps_are_one_too_many_for_62_counts_and_rounded_to_even_for_35():
    more, rounded, astray = [], [], 0
    for n, theirs, ours in spacings("trailing"):
        if len(theirs) != n:
            more.append(n)
            assert len(theirs) == n + 1 and theirs[-1] == -1
        elif not np.array_equal(theirs, ours):
            rounded.append(n)
            assert np.max(np.abs(theirs - ours)) == 1
        if len(theirs) != n or wrong_targets(theirs, n):
            astray += 1
    assert more[:5] == [61, 103, 121, 122, 201] and len(more) == 62 and len(rounded) == 35
    assert astray == 1000 - 16  # the divisors of 1000: elsewhere t - T//n is not the next timestep


def test_linspace_timesteps_are_rounded_to_even_and_one_step_starts_at_the_clean_end():
    rounded = []
    for n, theirs, ours in spacings("linspace"):
        if n == 1:
            assert theirs.tolist() == [0] and ours.tolist() == [999]
        elif not np.array_equal(theirs, ours):
            rounded.append(n)
            assert np.max(np.abs(theirs - ours)) == 1
        assert wrong_targets(theirs, n) == (n not in (1, 1000))
    assert len(rounded) == 220
