"""Every function of k_diffusion.sampling follows gendiff's sampler on the same exact denoiser, or differs by as much as the table says."""

import jax
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch and k-diffusion: make test-peers")

from gendiff.diffusion import grids, samplers  # noqa: E402
from tests.peers import exact, k_diffusion_runs  # noqa: E402
from tests.peers.k_diffusion_cases import ABSENT, AGREEMENTS, APART, DIFFERENCES, HEUN, NAMES  # noqa: E402

try:
    theirs = k_diffusion_runs.load()
except ImportError as error:
    pytest.skip(f"needs k-diffusion: make test-peers ({error})", allow_module_level=True)

pytestmark = [pytest.mark.peers, pytest.mark.float64, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours

SAME = 1e-9


def ran(case):
    """Its levels, start, end and evaluations."""
    levels = jax.tree.map(np.asarray, case.grid())
    noise = None if case.path is None else lambda step, early: exact.path_noise(levels, case.path, step, early=early)
    return levels, *k_diffusion_runs.run(theirs, case.function, levels, noise=noise, **case.options)


@pytest.mark.parametrize("case", AGREEMENTS, ids=str)
def test_the_function_ends_where_gendiff_does_and_asks_as_often(case):
    levels, start, end, evaluations = ran(case)
    assert exact.worst(exact.ours(case.ours(), levels, start), end) < SAME
    assert case.ours().evaluations(len(levels) - 1) == evaluations


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_the_difference_has_the_stated_size_and_cause(difference):
    levels, start, end, _ = ran(difference.case)
    assert exact.worst(exact.ours(difference.case.ours(), levels, start), end) == pytest.approx(difference.size, rel=0.1)
    if difference.proof is not None:
        assert exact.worst(exact.ours(difference.proof, levels, start), end) < SAME


def test_heun_is_nearer_to_the_exact_flow_in_gendiff():
    levels, start, end, _ = ran(HEUN.case)
    flow = exact.exact(levels, start)
    assert exact.worst(exact.ours(samplers.heun(), levels, start), flow) < 0.4 * exact.worst(end, flow)


def test_the_adaptive_solver_ends_on_the_exact_flow():
    levels = jax.tree.map(np.asarray, grids.log_snr(NAMES["EDM"], 1, end="first"))
    start, end, _ = k_diffusion_runs.run(theirs, "sample_dpm_adaptive", levels, rtol=1e-6, atol=1e-8)
    assert exact.worst(end, exact.exact(levels, start)) < 1e-5


@pytest.mark.parametrize("n", [1, 2, 10, 40])
def test_the_noise_levels_are_those_of_the_grids(n):
    with k_diffusion_runs.double():
        karras, even = theirs.get_sigmas_karras(n, 0.02, 20.0), theirs.get_sigmas_exponential(n, 0.02, 20.0)
    np.testing.assert_allclose(karras, grids.karras(NAMES["EDM"], n).sigma, rtol=1e-12)
    np.testing.assert_allclose(even, grids.log_snr(NAMES["EDM"], n).sigma, rtol=1e-12)


def test_every_sampler_is_in_a_table():
    functions = {name for name in dir(theirs) if name.startswith("sample_")}
    listed = {case.function for case in AGREEMENTS} | {difference.case.function for difference in DIFFERENCES} | set(ABSENT) | set(APART)
    assert functions - listed == set()
