"""Has every sampler the error and the order of convergence that its theory states?

    python -m experiments run certify            3 minutes of processor time; the largest distance of an order from its theory is 0.05
    python -m experiments run certify --smoke    three samplers, in seconds

Nothing is trained: samplers run on oracles whose exact flow or law is known (`gendiff.diffusion.certify`). Two formulas in common use are
measured beside the right ones, and two samplers that are wrong on purpose must fail. To expect: the published third-order step has order 2
and at 1024 steps from sigma/alpha = 80 to 0.002 an error 27 times as large; t - T//n aims at a wrong level for 998 of 1000 numbers of steps
with linspace spacing and for 984 with trailing, at little cost up to 50 steps, for an error about 120 times as large at 512.
`samplers.md` in the run folder is the README's table.
"""

import dataclasses
from collections.abc import Iterable

from experiments.diffusion.certify import figures, findings, judge, samplers
from experiments.diffusion.certify import tables as certify_tables
from experiments.diffusion.certify.findings import Range
from experiments.diffusion.certify.judge import Measured
from experiments.diffusion.certify.samplers import Entry
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting.results import Figure, Table
from gendiff.core.errors import ConfigError
from gendiff.diffusion import certify
from gendiff.diffusion.certify import Certificate
from gendiff.diffusion.sampling import Sampler


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    order: float = 0.15
    """Largest distance of a fitted order from that of the method's theory."""
    exact: float = 1e-9
    """Largest error in a case that theory says is exact."""
    previous_ratio: float = 2.0
    """Least error of t - T//n in multiples of the grid's, with linspace spacing and the most steps of control_counts."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of start points and noise; weak errors need none."""
    samplers: tuple[str, ...] = ()
    """Ids of the samplers to measure, such as ddim or rk4-schedule; none for all."""
    steps: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    """Numbers of steps, each twice the one before."""
    starts: int = 64
    """Start points of an error, over which its interval is taken."""
    sigma_max: float = 2.0
    """Where samplers start, as sigma / alpha."""
    sigma_min: float = 0.1
    """Where they end, as sigma / alpha."""
    path_starts: int = 1024
    """Start points of an error along Brownian paths."""
    path_sigma_max: float = 1.0
    """Where samplers along Brownian paths start, as sigma / alpha."""
    wide_sigma_max: float = 80.0
    """Where the third-order methods start on the whole range of levels, as sigma / alpha."""
    wide_sigma_min: float = 0.002
    """Where they end there, as sigma / alpha."""
    evaluations: tuple[int, ...] = (32, 128)
    """Numbers of evaluations at which the table of samplers gives errors."""
    counts: tuple[int, ...] = (5, 10, 15, 20, 25, 30, 40, 50, 64, 75, 100, 128, 150, 200, 256, 300, 400, 512, 600, 800, 999, 1000)
    """Numbers of steps at which t - T//n is measured, with T = 1000."""
    control_counts: tuple[int, ...] = (64, 128, 256, 512)
    """Those of them to which the order of DDIM on a table is fitted."""
    checked: int = 1000
    """Largest number of steps whose targets are compared with t - T//n."""
    thresholds: Thresholds = Thresholds()


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Certificates of every sampler, both findings and both controls: a claim a seed; tables and figures of the first seed."""
    entries = chosen(config)
    first = measure(config, entries, config.seeds[0], findings.SPACINGS, progress)
    claims = judge.claims(config, first)
    again = tuple(entry for entry, found in first.certificates.items() if not found.stochastic or entry.along_path)
    for seed in config.seeds[1:]:  # where a seed changes nothing, one is enough
        claims += judge.claims(config, measure(config, again, seed, ("linspace",), progress))
    with progress.phase("figures and tables"):
        tables = _tables(config, first)
        (folder.path / "samplers.md").write_text(certify_tables.markdown(tables[0]), encoding="utf-8")
        return Outcome(tuple(claims), tuple(_figures(folder, first)), tuple(tables))


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
        wrong = _certified(config, samplers.wrong_heun(), "heun", seed)
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


def _tables(config: Config, first: Measured) -> list[Table]:
    wrong = {name: findings.wrong_counts(name, config.checked) for name in first.timesteps}
    return [
        certify_tables.readme(first.certificates),
        certify_tables.samplers(first.certificates, config.evaluations, first.seed),
        *certify_tables.unfitted(first.certificates),
        *certify_tables.third_order(first.third_order),
        certify_tables.wrong_counts(wrong, config.checked),
        *certify_tables.previous_timestep(first.timesteps),
    ]


def _figures(folder: RunFolder, first: Measured) -> list[Figure]:
    return [
        *figures.flow_errors(folder, first.certificates),
        *figures.weak_errors(folder, first.certificates),
        *figures.third_order(folder, first.third_order),
        *figures.previous_timestep(folder, first.timesteps),
    ]


EXPERIMENT = Experiment(
    name="certify",
    question="Has every sampler the error and the order of convergence that its theory states?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0, 1),
        samplers=("heun", "dpm_solver_multistep-3", "ddpm"),
        steps=(8, 16, 32, 64, 128),
        starts=8,
        path_starts=8,
        counts=(10, 64, 128, 200),
        control_counts=(64, 128),
        checked=20,
    ),
    train=None,
    evaluate=evaluate,
)
