"""A scheduler_config.json of diffusers as a schedule, a grid of levels, a sampler and a parameterization."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Config, Scalar
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction
from gendiff.pipelines.diffusers_schedulers import chains, configurations, methods, shipped_spacings, spacings
from gendiff.pipelines.diffusers_schedulers.configurations import DDIM, FLOW, SCALED, Configuration


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """What a configuration says. Built by `from_config`.

    Args:
        configuration: the class and its fields.
        like_diffusers: whether grid, sampler and start are those of diffusers, roundings and mistakes included.
        schedule: the noise path.
        parameterization: what the network answers.
    """

    configuration: Configuration
    like_diffusers: bool
    schedule: Schedule
    parameterization: Parameterization

    def sampler(self, steps: int) -> Sampler:
        """The sampler for so many steps: one and the same for all, unless it is `like_diffusers`.

        Args:
            steps: at least 1.
        """
        checks.integer("steps", steps, 1)
        return methods.sampler(self.configuration, self.schedule, steps, self.like_diffusers)

    def grid(
        self,
        steps: int,
        *,
        tokens: int | None = None,
        sigmas: Sequence[float] | np.ndarray | None = None,
        log_shift: float | None = None,
    ) -> Level:
        """The levels (n + 1,) of so many steps.

        n is `steps`, but for the single-step solver: there `steps` counts evaluations of the network, as in diffusers,
        and n is the number of whole steps that they pay for.

        Args:
            steps: at least 1.
            tokens: how many tokens the network makes of a picture, at least 1: needed for, and only for,
                use_dynamic_shifting.
            sigmas: (steps,) falling numbers in (0, 1], of a flow-matching scheduler, before the shift, in place of its
                own.
            log_shift: with tokens, what stands in place of the number that the configuration makes of them, as the
                pipeline of FLUX.2 has it.

        Raises:
            ValueError: for more steps than the table has, or arguments that do not belong to this class.
        """
        checks.integer("steps", steps, 1)
        configuration = self.configuration
        dynamic = configuration.fields.get("use_dynamic_shifting", False)
        if (tokens is not None) != dynamic:
            raise ValueError(
                f"tokens = {tokens}: {configuration.name} {'needs their number for' if dynamic else 'has no'} "
                "use_dynamic_shifting"
            )
        if configuration.name != FLOW and sigmas is not None:
            raise ValueError(f"sigmas are for {FLOW}, not for {configuration.name}")
        if configuration.name != FLOW and (self.like_diffusers or not configuration.straight):
            spaced = shipped_spacings.grid if self.like_diffusers else spacings.grid
            return spaced(configuration, self.schedule, steps)
        return self._straight(steps, tokens, sigmas, log_shift)

    def limited(self, denoise: Denoiser) -> Denoiser:
        """The denoiser with its clean prediction clipped or thresholded, where the configuration says so.

        Put it around the guidance. DDIM of diffusers leaves the noise as it was before the clipping.
        """
        fields = self.configuration.fields
        keep = self.like_diffusers and self.configuration.name == DDIM
        if fields.get("thresholding"):
            return _Limited(denoise, float(fields["dynamic_thresholding_ratio"]), fields["sample_max_value"], keep)
        if fields.get("clip_sample"):
            return _Limited(denoise, None, fields["clip_sample_range"], keep)
        return denoise

    def temperature(self, levels: Level) -> Scalar:
        """The `temperature` of `diffusion.sample` that gives x_T the standard deviation of diffusers.

        1, which is sigma of the first level, unless `like_diffusers`: most schedulers of diffusers start from noise of
        standard deviation 1 at any level.

        Args:
            levels: of `grid`.
        """
        unit = self.configuration.name in SCALED and self.configuration.fields["timestep_spacing"] != "leading"
        return 1.0 if unit or not self.like_diffusers else 1 / levels.sigma[0]

    def _straight(
        self,
        steps: int,
        tokens: int | None,
        sigmas: Sequence[float] | np.ndarray | None,
        log_shift: float | None,
    ) -> Level:
        configuration = self.configuration
        if tokens is not None:
            checks.integer("tokens", tokens, 1)
            shift = spacings.dynamic_shift(configuration, tokens, log_shift)
            if shift <= 0:
                raise ValueError(f"tokens = {tokens}: the shift would be {shift:g}, it must be positive")
        else:
            shift = configuration.fields.get("flow_shift", configuration.fields.get("shift"))
        checked = None if sigmas is None else _checked_sigmas(sigmas, steps)
        if self.like_diffusers:
            return shipped_spacings.straight(configuration, steps, shift, checked)
        points = spacings.whole_steps(configuration, steps)
        even = np.arange(points, 0, -1) / points if checked is None else checked
        return spacings.straight(spacings.straight_sigmas(configuration, even, shift))


def from_config(config: Config, *, like_diffusers: bool = False) -> Scheduler:
    """What a scheduler_config.json says, in the terms of this library.

    Every field is followed or refused by name. By default the published formula is taken where diffusers leaves it:
    each step ends where the next one starts, halves are rounded up, zero terminal SNR is alpha = 0, the third order has
    its full weight, and x_T has the standard deviation of its level.

    Args:
        config: as it stands in the file.
        like_diffusers: take the levels, steps and start of diffusers instead, in order to compare. One sampler then
            serves one number of steps.

    Returns:
        A `Scheduler`, whose parts go into `diffusion.from_network` and `diffusion.sample`.

    Raises:
        ConfigError: for a class or a field without a match, and for fields that contradict each other.
    """
    if not isinstance(like_diffusers, bool):
        raise TypeError(f"like_diffusers must be True or False, got {like_diffusers!r}")
    configuration = configurations.read(config, like_diffusers=like_diffusers)
    try:
        chain = chains.as_shipped(configuration) if like_diffusers else chains.schedule(configuration)
    except ValueError as error:
        raise ConfigError(f"{configuration.name}: {error}") from error
    return Scheduler(configuration, like_diffusers, chain, methods.answer(configuration))


@records.record
class _Limited:
    """clip(clean, -s, s) · scale, s the bound, or a percentile of |clean| between 1 and the bound; then scale = 1 / s.

    keep: the noise stays what it was, so that alpha * clean + sigma * noise is no longer x.
    """

    denoise: Denoiser
    percentile: float | None = records.static()
    bound: float = records.static()
    keep: bool = records.static()

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        prediction = self.denoise(x, level)
        clean = prediction.clean
        if self.percentile is None:
            clean = jnp.clip(clean, -self.bound, self.bound)
        else:
            size = jnp.quantile(jnp.abs(arrays.flatten_samples(clean)), self.percentile, axis=1)
            limit = arrays.expand(jnp.minimum(jnp.maximum(size, 1.0), self.bound), clean)
            clean = jnp.clip(clean, -limit, limit) / limit
        return records.replace(prediction, clean=clean) if self.keep else with_clean(prediction, clean, level)


def _checked_sigmas(sigmas: Sequence[float] | np.ndarray, steps: int) -> np.ndarray:
    values = np.asarray(sigmas, np.float64)
    if values.shape != (steps,):
        raise ValueError(f"sigmas must have shape ({steps},), got {values.shape}")
    checks.in_range("sigmas", values, 0.0, 1.0, open_low=True)
    if np.any(np.diff(values) >= 0):
        raise ValueError("sigmas must fall strictly")
    return values
