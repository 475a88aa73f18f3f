"""The probability flow by an adaptive method: steps as long as a tolerance allows, each sample at its own pace.

The flow is solved in the angle of the noise path (`flow_coordinates`), from pi/2 where nothing is left of the clean
sample to 0 where nothing else is: time and state are finite from end to end, for any process.
"""

import math
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from gendiff.core import arrays, checks, extras, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.diffusion import flow_coordinates, sampling, schedules
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level

SIGMA_MIN = 1e-3
"""The sigma/alpha where `sample` stops on a schedule whose cleanest level is clean already."""

FIRST_TURN = 0.01
"""The angle that is tried first, in radians."""


@records.record
class Solution:
    """What `solve` and `sample` return.

    Args:
        x: (b, …).
        success: (b,) whether the end was reached, in numbers that are finite.
        evaluations: (b,) of the network.
    """

    x: Array
    success: Array
    evaluations: Array


def solve(
    denoise: Denoiser,
    schedule: Schedule,
    x: Float[ArrayLike, "b *shape"],
    level: Level,
    cleaner: Level,
    *,
    rtol: Scalar = 1e-4,
    atol: Scalar = 1e-4,
    max_steps: int = 1000,
) -> Solution:
    """Carry x along the flow from one level to a cleaner one, or back if it is noisier, by the method of Tsitouras.

    A sample does not depend on its neighbours, beyond rounding within its tolerance, but all wait for the slowest. It
    takes 1 evaluation to start and 6 for each step tried; a first step that is refused costs one more, which is not
    counted. An end at sigma = 0 is asked at sigma/alpha = sqrt(machine epsilon) instead. Differentiable in reverse
    mode.

    Args:
        denoise: the denoiser, called for one sample at a time. Where conditions differ by sample, map the call:
            `jax.vmap(lambda x, y: solve(denoise.with_condition(y), schedule, x[None], level, cleaner))(x, labels)`.
        schedule: of the process, for the levels between.
        x: (b, …) at `level`.
        level: () where to begin.
        cleaner: () where to end.
        rtol: in (0, 1], data under jit. The error of a step in w = x / sqrt(alpha² + sigma²), root mean square over one
            sample, is held below atol + rtol · |w|.
        atol: in (0, 1], data under jit.
        max_steps: that a sample may try, >= 1; where they do not suffice, success is False and x is no sample.

    Raises:
        ImportError: without diffrax.
        TypeError: for x that is not floating.
        ValueError: for numbers outside their ranges, and levels that are not single.

    References:
        Tsitouras, 2011.
    """
    diffrax = _diffrax()
    checks.floating("x", x)
    checks.integer("max_steps", max_steps, 1)
    for name, value in (("rtol", rtol), ("atol", atol)):
        checks.in_range(name, value, 0.0, 1.0, open_low=True)
    if level.shape or cleaner.shape:
        raise ValueError(f"solve runs between two levels of shape (), got {level.shape} and {cleaner.shape}")
    x = jnp.asarray(x)
    start, end = (
        jnp.arctan2(*(jnp.asarray(field, x.dtype) for field in (at.sigma, at.alpha))) for at in (level, cleaner)
    )
    first = jnp.where(end > start, FIRST_TURN, -FIRST_TURN).astype(x.dtype)
    controller = diffrax.PIDController(rtol=rtol, atol=atol)

    def slope(turned: Array, w: Array, _: None) -> Array:
        return _velocity(denoise, schedule, turned, w)

    def one(w: Array) -> tuple[Array, Array, Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Tsit5(),
            start,
            end,
            first,
            w,
            stepsize_controller=controller,
            max_steps=max_steps,
            throw=False,
        )
        return solution.ys[0], solution.result == diffrax.RESULTS.successful, 1 + 6 * solution.stats["num_steps"]

    w, success, evaluations = jax.vmap(one)(flow_coordinates.scaled(x, level))
    return Solution(flow_coordinates.unscaled(w, cleaner), success & _finite(w), evaluations)


def sample(
    key: jax.Array,
    denoise: Denoiser,
    schedule: Schedule,
    shape: tuple[int, ...],
    index: Int[ArrayLike, "b"],
    *,
    sigma_max: float | None = None,
    sigma_min: float | None = None,
    start: Shaped[ArrayLike, "..."] | None = None,
    rtol: Scalar = 1e-4,
    atol: Scalar = 1e-4,
    max_steps: int = 1000,
) -> Solution:
    """Draw samples by `solve` from the x_T that `sampling.sample` starts at.

    The result is the denoised prediction at the end of the flow, which costs one more evaluation, as on a grid that
    ends clean.

    Args:
        key: as for `sampling.sample`.
        denoise: the denoiser.
        schedule: of the process.
        shape: of one sample.
        index: (b,) as for `sampling.sample`.
        sigma_max: the ratio sigma/alpha where the flow begins; default the schedule's own end.
        sigma_min: the ratio where it ends, > 0; default the schedule's own end, or SIGMA_MIN where that end is clean.
        start: (b, *shape) in place of x_T; its dtype is the solver's.
        rtol: as for `solve`.
        atol: as for `solve`.
        max_steps: as for `solve`.

    Raises:
        TypeError: for a legacy or missing key, a start that is not floating, and as `solve` does.
        ValueError: for ratios out of order or a start of another shape, and as `solve` does.
    """
    first, last = _ends(schedule, sigma_max, sigma_min)
    _, x = sampling.start_of(key, jax.tree.map(jnp.atleast_1d, first), shape, index, start)
    end = solve(denoise, schedule, x, first, last, rtol=rtol, atol=atol, max_steps=max_steps)
    clean = denoise(end.x, last).clean
    return Solution(clean, end.success & _finite(clean), end.evaluations + 1)


def _ends(schedule: Schedule, sigma_max: float | None, sigma_min: float | None) -> tuple[Level, Level]:
    """The first and the last level, in the default dtype."""
    noisiest, cleanest = schedule.noisiest, schedule.cleanest
    low = (float(cleanest.sigma / cleanest.alpha) or SIGMA_MIN) if sigma_min is None else sigma_min
    high = schedules.max_noise_ratio(schedule) if sigma_max is None else sigma_max
    if not 0 < low < high:
        raise ValueError(f"0 < sigma_min < sigma_max is needed for sigma / alpha, got {low:g} and {high:g}")
    first = noisiest if sigma_max is None else schedule.at_log_snr(np.float64(-2 * math.log(high)))
    last = cleanest if sigma_min is None and cleanest.sigma > 0 else schedule.at_log_snr(np.float64(-2 * math.log(low)))
    first, last = jax.tree.map(lambda field: jnp.asarray(field, jnp.result_type(float)), (first, last))
    return first, last


def _velocity(denoise: Denoiser, schedule: Schedule, turned: Array, w: Array) -> Array:
    """dw/d(angle) of one sample w (…) at an angle ()."""
    turned = jnp.maximum(turned, math.sqrt(jnp.finfo(w.dtype).eps))  # nothing can be asked at sigma = 0
    alpha, sigma = jnp.cos(turned), jnp.sin(turned)
    signal = alpha > jnp.finfo(w.dtype).eps  # rounded, the cosine of pi/2 is some such number of either sign
    between = schedule.at_log_snr(2 * jnp.log(jnp.where(signal, alpha, 1) / sigma))
    level = jax.tree.map(lambda inside, end: jnp.where(signal, inside, end), between, schedule.noisiest)
    # t is not rounded to x's dtype
    level = records.replace(level, alpha=level.alpha.astype(w.dtype), sigma=level.sigma.astype(w.dtype))
    return flow_coordinates.velocity(denoise(flow_coordinates.unscaled(w[None], level), level), level)[0]


def _finite(x: Array) -> Array:
    """(b,) of x (b, …)."""
    return jnp.all(jnp.isfinite(arrays.flatten_samples(x)), axis=1)


def _diffrax() -> ModuleType:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(extras.needs("adaptive steps need", "diffrax", "ode")) from error
    return diffrax
