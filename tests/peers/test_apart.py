"""What no table of cases can say: peers that are driven in ways of their own, their tables of noise, and the timesteps
they visit.
"""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch and diffusers: make test-peers")
diffusers = pytest.importorskip("diffusers", reason="needs torch and diffusers: make test-peers")

from gendiff.diffusion import grids, inversion, samplers, schedules  # noqa: E402
from gendiff.diffusion.samplers.predictor_corrector import langevin_step  # noqa: E402
from gendiff.diffusion.types import Level, Prediction  # noqa: E402
from tests.peers import exact  # noqa: E402
from tests.peers.cases import NAMES, Case  # noqa: E402
from tests.peers.diffusers_run import USUAL  # noqa: E402
from tests.peers.diffusers_views import TARGETS, preserving  # noqa: E402
from tests.peers.stand_ins import standing_in  # noqa: E402

# their warnings are not ours
pytestmark = [pytest.mark.peers, pytest.mark.float64, pytest.mark.filterwarnings("ignore")]

SAME = 1e-9


@pytest.fixture
def k_diffusion():
    return pytest.importorskip(
        "tests.peers.k_diffusion_run", reason="needs k-diffusion: make test-peers", exc_type=ImportError
    )


@pytest.mark.parametrize(
    ("calls", "kind", "size"), [(4, "epsilon", None), (10, "epsilon", 0.179), (4, "v_prediction", 0.233)]
)
def test_ddim_inversion_is_the_same_for_noise_prediction_where_alpha_exceeds_sigma(calls, kind, size):
    """Elsewhere gendiff keeps the clean sample, the scheduler the noise. Velocity is read at a level for which it was
    not predicted.
    """
    scheduler_class, target = diffusers.DDIMInverseScheduler, TARGETS[kind]
    levels, x = grids.leading(NAMES["SD"], 10)[10 - calls :], exact.start(1.0, 0.0)
    with standing_in(inspect.getmodule(scheduler_class)):
        scheduler = scheduler_class(**USUAL, prediction_type=kind)
        scheduler.set_timesteps(10)
        result = torch.as_tensor(x)
        for call, t in enumerate(scheduler.timesteps[:calls]):
            noisier = levels[calls - 1 - call]
            clean, noise, _ = exact.predicted(jnp.asarray(result.numpy()), noisier.alpha, noisier.sigma)
            result = scheduler.step(
                torch.as_tensor(np.asarray(target.target(clean, noise, noisier))), t, result
            ).prev_sample
    distance = exact.worst(inversion.ddim_invert(exact.oracle(), jnp.asarray(x), levels), result)
    assert distance < SAME if size is None else distance == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(("count", "size"), [(1, None), (exact.COUNT, 0.0633)])
def test_the_corrector_is_a_langevin_step_for_a_batch_of_one_and_shares_its_norms_over_a_larger_one(count, size):
    scheduler_class, sigma = diffusers.ScoreSdeVeScheduler, 1.0
    x, fixed = exact.start(1.0, sigma)[:count], exact.noise(0)[:count]
    clean, noise, _ = exact.predicted(jnp.asarray(x), 1.0, sigma)
    with standing_in(inspect.getmodule(scheduler_class), lambda: fixed):
        scheduler = scheduler_class(snr=0.15)
        scheduler.set_timesteps(10)
        result = scheduler.step_correct(torch.as_tensor(-np.asarray(noise) / sigma), torch.as_tensor(x)).prev_sample
    ours = langevin_step(jnp.asarray(x), Prediction(clean, noise), Level(0.0, 1.0, sigma), noise=fixed, snr=0.15)
    distance = exact.worst(ours, result)
    assert distance < SAME if size is None else distance == pytest.approx(size, rel=0.1)


def test_heun_is_nearer_to_the_exact_flow_in_gendiff(k_diffusion):
    theirs = k_diffusion.run(Case("sample_heun", "heun()", "karras(EDM, 10)", {}))
    flow = exact.exact(theirs.levels, theirs.start)
    assert exact.worst(exact.ours(samplers.heun(), theirs.levels, theirs.start), flow) < 0.4 * exact.worst(
        theirs.end, flow
    )


def test_the_adaptive_solver_ends_on_the_exact_flow(k_diffusion):
    case = Case("sample_dpm_adaptive", "", "log_snr(edm(0.02, 20.0), 1, end='first')", {"rtol": 1e-6, "atol": 1e-8})
    theirs = k_diffusion.run(case)
    assert exact.worst(theirs.end, exact.exact(theirs.levels, theirs.start)) < 1e-5


@pytest.mark.parametrize("n", [1, 2, 10, 40])
def test_the_noise_levels_are_those_of_the_grids(k_diffusion, n):
    with standing_in(k_diffusion.sampling):
        for levels in (
            (k_diffusion.sampling.get_sigmas_karras, grids.karras),
            (k_diffusion.sampling.get_sigmas_exponential, grids.log_snr),
        ):
            np.testing.assert_allclose(levels[0](n, 0.002, 80.0), levels[1](NAMES["EDM"], n).sigma, rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "config", "alpha_error", "sigma_error"),
    [
        (schedules.linear(), {"beta_schedule": "linear"}, 2e-7, 1e-4),
        (NAMES["SD"], USUAL, 5e-7, 2e-5),
        (schedules.cosine(), {"beta_schedule": "squaredcos_cap_v2"}, 7e-6, 3e-4),
        (NAMES["ZERO_SNR"], {**USUAL, "rescale_betas_zero_snr": True}, 2e-5, 2e-5),
    ],
    ids=["linear", "scaled_linear", "cosine", "zero_terminal_snr"],
)
def test_tables_are_the_same_in_double_precision_and_lose_digits_in_single(schedule, config, alpha_error, sigma_error):
    kind, table = diffusers.DDIMScheduler, schedule.table

    def errors(scheduler):
        level = preserving(scheduler.alphas_cumprod.double().numpy())
        usable = table.alpha > 0
        return np.max(np.abs(level.alpha / np.where(usable, table.alpha, 1) - 1)[usable]), np.max(
            np.abs(level.sigma / table.sigma - 1)
        )

    with standing_in(inspect.getmodule(kind)):
        assert max(errors(kind(**config))) < 1e-11
    alpha, sigma = errors(kind(**config))
    assert alpha_error / 3 < alpha < alpha_error and sigma_error / 3 < sigma < sigma_error


COUNTS = range(1, 1001)
TIMESTEPS = {
    "leading": ([], 0, 0, list(COUNTS)),
    "trailing": ([61, 103, 121, 122, 201], 62, 35, [n for n in COUNTS if 1000 % n == 0]),
    "linspace": ([], 0, 220, [1000]),
}


@pytest.mark.parametrize(
    ("spacing", "first_longer", "longer", "rounded", "straight"), [(key, *row) for key, row in TIMESTEPS.items()]
)
def test_numbers_of_steps_with_a_timestep_too_many_or_rounded_to_even_or_whose_next_one_is_not_the_target(
    spacing, first_longer, longer, rounded, straight
):
    """The target of DDIM's steps is t - T//n, which should be the next timestep of the grid."""
    scheduler, too_long, differing, aimed = diffusers.DDIMScheduler(timestep_spacing=spacing), [], [], []
    for n in COUNTS:
        scheduler.set_timesteps(n)
        theirs, ours = scheduler.timesteps.numpy(), np.asarray(getattr(grids, spacing)(NAMES["SD"], n).t)[:-1]
        if (spacing, n) == ("linspace", 1):
            assert theirs.tolist() == [0] and ours.tolist() == [999]  # theirs starts at the clean end
            continue
        if len(theirs) != n:
            too_long.append(n)
            assert len(theirs) == n + 1 and theirs[-1] == -1
            continue
        if not np.array_equal(theirs, ours):
            differing.append(n)
            assert np.max(np.abs(theirs - ours)) == 1
        if np.array_equal(np.maximum(theirs - 1000 // n, -1), np.append(theirs[1:], -1)):
            aimed.append(n)
    assert too_long[:5] == first_longer and len(too_long) == longer and len(differing) == rounded and aimed == straight
