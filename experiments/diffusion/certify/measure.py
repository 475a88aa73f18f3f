"""Everything that the certify experiment measures: certificates of the samplers, both findings, and a control."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from experiments.diffusion.certify import findings, samplers
from experiments.diffusion.certify.config import Config
from experiments.diffusion.certify.findings import Errors, Range
from experiments.diffusion.certify.samplers import Entry
from experiments.framework.progress import Progress
from gendiff.core.errors import ConfigError
from gendiff.diffusion import certify
from gendiff.diffusion.certify import Certificate, Curve
from gendiff.diffusion.sampling import Sampler


@dataclass(frozen=True)
class Measured:
    """Everything of one seed. third_order: curves by formula. timesteps: errors by spacing."""

    seed: int
    certificates: Mapping[Entry, Certificate]
    third_order: Mapping[Range, Mapping[str, Curve]]
    timesteps: Mapping[str, Errors]
    wrong_heun: Curve


def chosen(config: Config) -> tuple[Entry, ...]:
    """The samplers of the configuration. ConfigError for an id that there is not."""
    entries = {entry.id: entry for entry in samplers.entries()}
    strange = [id for id in config.samplers if id not in entries]
    if strange:
        raise ConfigError(f"--samplers {strange[0]} is none of {', '.join(entries)}")
    return tuple(entry for id, entry in entries.items() if not config.samplers or id in config.samplers)


def measure(config: Config, entries: tuple[Entry, ...], seed: int, spacings: Iterable[str], progress: Progress) -> Measured:
    """Everything of one seed. spacings: those for which t - T//n is measured."""
    with progress.phase("samplers", seed=seed), progress.task("certify", len(entries)) as task:
        certificates = {}
        for number, entry in enumerate(entries, 1):
            certificates[entry] = _certified(config, entry.sampler, entry.name, seed, entry.along_path)
            task.update(number, entry.id)
    with progress.phase("findings", seed=seed):
        ranges = Range("narrow", config.sigma_max, config.sigma_min), Range("wide", config.wide_sigma_max, config.wide_sigma_min)
        third_order = {between: findings.third_order(between, config.steps, config.starts, seed) for between in ranges}
        timesteps = {name: findings.previous_timestep(name, config.counts, config.starts, seed) for name in spacings}
    with progress.phase("control", seed=seed):
        wrong = _certified(config, samplers.WrongHeun(), "heun", seed)
    return Measured(seed, certificates, third_order, timesteps, wrong.curve("flow"))


def _certified(config: Config, sampler: Sampler, method: str, seed: int, along_path: bool = False) -> Certificate:
    return certify.certify(
        sampler,
        method,
        sigma_max=config.path_sigma_max if along_path else config.sigma_max,
        sigma_min=config.sigma_min,
        steps=config.steps,
        starts=config.path_starts if along_path else config.starts,
        seed=seed,
    )
