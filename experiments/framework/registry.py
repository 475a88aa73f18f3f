"""What an experiment is, and which ones there are."""

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments.reporting.results import Explorer, Figure, Table
from experiments.reporting.verdicts import Claim
from gendiff.core.errors import ConfigError

MODULES = {
    "digits": "experiments.diffusion.digits",
    "certify": "experiments.diffusion.certify",
    "forward": "experiments.diffusion.forward",
    "invariance": "experiments.diffusion.invariance",
    "ddim-steps": "experiments.diffusion.ddim_steps",
    "schedules": "experiments.diffusion.schedules",
    "guidance": "experiments.diffusion.guidance",
    "bench": "experiments.benchmarks.bench",
    "editing": "experiments.diffusion.editing",
}
"""Name of each experiment -> the module whose `EXPERIMENT` it is; a new experiment is one line here."""


@dataclasses.dataclass(frozen=True)
class Model:
    """What `sample RUN` needs to draw from a trained run; made from the run's config alone.

    predict: (params, x, t, *condition) -> output, as `gendiff.networks.pure` makes it. init: key -> params, as in training.
    schedule, parameterization: of gendiff.diffusion. shape: one sample's axes, such as (8, 8, 1).
    num_classes: labels are 0 … num_classes - 1 and the only condition; 0 for a model without conditions.
    levels: how many values a pixel has (digits: 17), to which samples are rounded; None leaves them as they are.
    names: a name for each class, shown in messages; may be empty. ema: the EMA track to sample from, by decay; None takes the first.
    temperature: of the noise that samples start from (gendiff.sampling.sample).
    """

    predict: Callable[..., Any]
    init: Callable[[Any], Any]
    schedule: Any
    parameterization: Any
    shape: tuple[int, ...]
    num_classes: int = 0
    levels: int | None = None
    names: tuple[str, ...] = ()
    ema: float | None = None
    temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `evaluate` found: claims (verdicts.claim), figures (results.Figure) that it left in the folder, tables (results.Table).

    explorers (results.Explorer): pictures drawn beforehand, which the report shows with a slider for each of their axes.
    """

    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    explorers: tuple[Explorer, ...] = ()


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One question, its numbers, and the two functions that answer it.

    name: the word on the command line. question: one line for `list`.
    config: the frozen dataclass of all numbers. Every field has a default, and below it a docstring with its unit, which `--help` shows.
      Its field `seeds: tuple[int, ...]`, each 0 … 2**32 - 1, is what `--seed N` replaces. Fields are numbers, strings, booleans, Literals,
      None, tuples of these, or such dataclasses, as the optional `thresholds` is. None is named like a field of command_line.RunOptions.
    presets: configs by name; "full" is the default, others (such as "demo") are chosen by --preset.
    smoke: the config of --smoke: everything in under 30 s. The runner makes the verdicts of such a run INCONCLUSIVE.
    train(config, folder, progress): trains every seed with `training_loop.train` and leaves all in the folder. Called again after an
      interruption, and must then go on where it was. The runner times it as "train". None where nothing is trained.
    evaluate(config, folder, progress) -> Outcome: computes every number from the folder's checkpoints and writes figures (PNG) into it.
      `run` calls it after `train`; `evaluate RUN` calls it alone. Stages within `with progress.phase("sample"):` appear in the log and in
      `seconds`. The runner adds config, seeds, environment and verdict (INCONCLUSIVE for --smoke), and writes results.json and report.html.
    model(config) -> Model: for `sample RUN`; None where there is nothing to sample.
    """

    name: str
    question: str
    config: type
    presets: Mapping[str, Any]
    smoke: Any
    train: Callable[..., None] | None
    evaluate: Callable[..., Outcome]
    model: Callable[[Any], Model] | None = None

    def __post_init__(self) -> None:
        if "full" not in self.presets:
            raise ConfigError(f"experiment {self.name!r} has no preset 'full', only {', '.join(self.presets)}")
        wrong = [name for name, preset in {**self.presets, "smoke": self.smoke}.items() if not isinstance(preset, self.config)]
        if wrong:
            raise ConfigError(f"presets {', '.join(wrong)} of experiment {self.name!r} are no {self.config.__name__}")


def names(known: Iterable[Experiment] | None = None) -> list[str]:
    """The names of `known`, or (None) of `MODULES`; nothing is loaded."""
    return list(MODULES) if known is None else [experiment.name for experiment in known]


def load(name: str, known: Iterable[Experiment] | None = None) -> Experiment:
    """The experiment called `name`, among `known` or (None) among `MODULES`. ConfigError with the nearest name where there is none."""
    given = None if known is None else list(known)
    options = names(given)
    if name not in options:
        near = difflib.get_close_matches(name, options, n=1)
        raise ConfigError(
            f"no experiment is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(options)}")
        )
    return importlib.import_module(MODULES[name]).EXPERIMENT if given is None else given[options.index(name)]


def load_all(known: Iterable[Experiment] | None = None) -> list[Experiment]:
    """Every experiment, in the order of the table."""
    return [load(name) for name in MODULES] if known is None else list(known)
