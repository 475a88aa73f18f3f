"""Everything that the certify experiment measures: certificates of the samplers, both findings, and a control."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from experiments.diffusion.certify import findings, wrong
from experiments.diffusion.certify.config import Config
from experiments.diffusion.certify.findings import Errors, Range
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Count
from gendiff.diffusion import certify, schedules
from gendiff.diffusion.certify import Certificate, Curve, Method
from gendiff.diffusion.samplers import catalogue
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction
from gendiff.runs import ranges
from gendiff.runs.progress import Progress


@dataclass(frozen=True)
class Measured:
    """Everything of one seed. third_order: curves by formula. timesteps: errors by spacing."""

    seed: int
    certificates: tuple[Certificate, ...]
    third_order: Mapping[Range, Mapping[str, Curve]]
    timesteps: Mapping[str, Errors]
    wrong_heun: Curve


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    chosen(config)
    if any(later != 2 * before for before, later in zip(config.steps, config.steps[1:], strict=False)):
        raise ConfigError(f"--steps {ranges.shown(config.steps)}: each number must be twice the one before")
    for count in config.control_counts:
        ranges.among("control-counts", count, "counts", config.counts)
    for high, low in (("sigma-max", "sigma-min"), ("path-sigma-max", "sigma-min"), ("wide-sigma-max", "wide-sigma-min")):
        largest, least = (getattr(config, option.replace("-", "_")) for option in (high, low))
        if largest <= least:
            raise ConfigError(f"--{high} {largest} must be above --{low} {least}")


def chosen(config: Config) -> tuple[Method, ...]:
    """The methods of the configuration. ConfigError for an id that there is not."""
    methods = {method.id: method for method in catalogue.METHODS.values()}
    strange = [id for id in config.samplers if id not in methods]
    if strange:
        raise ConfigError(f"--samplers {strange[0]} is none of {', '.join(methods)}")
    return tuple(method for id, method in methods.items() if not config.samplers or id in config.samplers)


def measure(config: Config, methods: tuple[Method, ...], seed: int, spacings: Iterable[str], progress: Progress) -> Measured:
    """Everything of one seed. spacings: those for which t - T//n is measured."""
    with progress.phase("samplers", seed=seed), progress.task("certify", len(methods)) as task:
        certificates = []
        for method in methods:
            plain = method.make(schedules.flow())  # type: ignore[misc]  # every method of the catalogue has a sampler
            sampler = HalfWay(plain) if method.learned_variance else plain
            certificates.append(_certified(config, sampler, method, seed))
            task.update(len(certificates), method.id)
    with progress.phase("findings", seed=seed):
        ranges = Range("narrow", config.sigma_max, config.sigma_min), Range("wide", config.wide_sigma_max, config.wide_sigma_min)
        third_order = {between: findings.third_order(between, config.steps, config.starts, seed) for between in ranges}
        timesteps = {name: findings.previous_timestep(name, config.counts, config.starts, seed) for name in spacings}
    with progress.phase("control", seed=seed):
        heun = _certified(config, wrong.WrongHeun(), catalogue.METHODS["heun"], seed)
    return Measured(seed, tuple(certificates), third_order, timesteps, heun.curve("flow"))


@records.record
class HalfWay(Sampler):
    """A sampler that needs a predicted variance, with a network that predicts the middle between both fixed ones, in the logarithm."""

    sampler: Sampler

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        def with_share(x: Array, level: Level) -> Prediction:
            prediction = denoise(x, level)
            return records.replace(prediction, variance_share=jnp.full_like(prediction.clean, 0.5))

        return self.sampler.step(noise, with_share, state, level, cleaner, left)


def _certified(config: Config, sampler: Sampler, method: Method, seed: int) -> Certificate:
    return certify.certify(
        sampler,
        method,
        sigma_max=config.path_sigma_max if method.along_path else config.sigma_max,
        sigma_min=config.sigma_min,
        steps=config.steps,
        starts=config.starts_of(method),
        seed=seed,
    )
