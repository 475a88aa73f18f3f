"""What an experiment is, and how the command line finds one by its name."""

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from gendiff.core.errors import ConfigError
from gendiff.runs import configuration, errors, ranges
from gendiff.runs.ranges import Config
from gendiff.runs.reporting.answers import Answer
from gendiff.runs.reporting.results import Explorer, Figure, Table
from gendiff.runs.reporting.verdicts import Claim


@dataclasses.dataclass(frozen=True)
class Late:
    """The function of a module that is imported when the function is called: help and a refusal of options are quick.

    module: its name. function: the name of the function.
    """

    module: str
    function: str = "call"

    def __call__(self, *arguments: object) -> Any:  # what the function returns
        return getattr(importlib.import_module(self.module), self.function)(*arguments)


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that an experiment adds to the command line.

    options: the frozen dataclass of its options. Every field has a default, and below it a docstring, which `--help`
        shows.
    call: `sample RUN` calls it as (config, folder, options, progress), with the config and the RunFolder of the run; a
        signal may stop it
      at any point, so it writes each finished part at once, whole or not at all. A command with the experiment's own
      name calls it as (experiment, options, progress), and ends with the exit code that it returns; None is success.
    check: raises ConfigError for options that are out of range or do not fit each other, before `call` loads JAX.
    """

    options: type
    call: Callable[..., int | None]
    check: Callable[..., object] | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Tool(Command):
    """A command that belongs to no experiment: it works on what people bring, or on the runs of any experiment.

    call: (options, catalogue, progress). does: one line for `list`.
    """

    does: str


@dataclasses.dataclass(frozen=True)
class SampleCommand(Command):
    """How `sample RUN` draws, and what else there is to do with the folder of shards that it may leave.

    finalize, evaluate: `finalize SAMPLES` and `evaluate SAMPLES` call them as (shards, options, progress), with the
        `shards.Shards`.
    """

    finalize: Command | None = None
    evaluate: Command | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `evaluate` found: claims (verdicts.claim), figures (results.Figure) that it left in the folder, tables
    (results.Table).

    explorers (results.Explorer): pictures drawn beforehand, which the report shows with a slider for each of their
        axes.
    chosen: what was taken for the fields of the configuration that are None, in words.
    """

    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    explorers: tuple[Explorer, ...] = ()
    chosen: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One question, its numbers, and the two functions that answer it.

    name: the word on the command line. question: one line for `list`; that of the catalogue, if it is listed there.
    config: the frozen dataclass of all numbers. Every field has a default, and below it a docstring with its unit,
        which `--help` shows.
      Its field `seeds: tuple[int, ...]`, each 0 … 2**32 - 1, is what `--seed N` replaces. Fields are numbers, strings,
      booleans, Literals, None, tuples of these, or such dataclasses, as the optional `thresholds` is. None is named
      like a field of run_options.RunOptions.
    presets: configs by name; "full" is the default, others (such as "demo") are chosen by --preset.
    meshes: what --mesh is by default, by the name of a preset; a preset without one splits batches alone.
    smoke: the config of --smoke: everything in under 30 s. The runner makes the verdicts of such a run INCONCLUSIVE.
    train(config, folder, progress): trains every seed with `training_loop.train` and leaves all in the folder. Called
    again after an
      interruption, and must then go on where it was. The runner times it as "train". None where nothing is trained.
    evaluate(config, folder, progress) -> Outcome: computes every number from the folder's checkpoints and writes
    figures (PNG) into it.
      `run` calls it after `train`; `evaluate RUN` calls it alone. Stages within `with progress.phase("sample"):` appear
      in the log and in `seconds`. The runner adds config, seeds, environment and verdict (INCONCLUSIVE for --smoke),
      and writes results.json and report.html.
    sample: how `sample RUN` draws from a trained run, and its options; None where there is nothing to sample.
    plan(config, progress): prints what a run would do and what it costs, for --dry-run; None where there is no plan.
    check(config): raises ConfigError where numbers do not fit each other; None where each number's own range says
    everything. Those ranges
      are the types of the fields (see ranges.py). Both are checked before anything is made or computed.
    processes: whether several processes may train together. Then each calls `train`, which does the same on all of
        them, and writes only
      through `training_loop.train`; process 0 alone calls `evaluate`. False: the runner refuses several processes.
    sweep: of an experiment whose training is a sweep (see sweep.py): computes the rows of one shard, for --shards, as
      (config, folder, progress, shard), beside other processes. None for all others.
    prepare: `prepare NAME`, which computes once what several runs read. It is called as (options, progress). None where
        there is nothing.
    command: a command of the experiment's own name, as in `NAME --help`; None where there is none.
    plots(config, folder, tables): the figures that tables of `evaluate` are enough for, drawn into the folder;
    `evaluate` calls it, and so
      does `python -m experiments.documentation.redraw`, long after the run. None where there are none.
    pages: from the folder of the committed results to (file, text) of each model card beside their page; None where
        there are none.
    typed: the command that is short for `run NAME`, where there is one. begins: the preset that it begins with.
    answer: the roles of the claims, and the sentences that answer the question.
    thresholds: of each claim by its id, where a `study.Study` states them; otherwise they are fields of the config.
    runs: whether `run NAME` is there; False where the experiment's own command takes its place.
    """

    name: str
    question: str
    config: type[Config]
    presets: Mapping[str, Config]
    smoke: Config
    train: Callable[..., None] | None
    evaluate: Callable[..., Outcome]
    sample: SampleCommand | None = None
    processes: bool = False
    sweep: Callable[..., None] | None = None
    prepare: Command | None = None
    command: Command | None = None
    plots: Callable[..., Iterable[Figure]] | None = None
    pages: Callable[[Path], Iterable[tuple[Path, str]]] | None = None
    typed: str | None = None
    begins: str = "full"
    runs: bool = True
    answer: Answer = Answer()
    thresholds: Mapping[str, float] | None = None
    check: Callable[..., None] | None = None
    plan: Callable[..., None] | None = None
    meshes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if "full" not in self.presets:
            raise ConfigError(f"experiment {self.name!r} has no preset 'full', only {', '.join(self.presets)}")
        if not self.runs and self.command is None:
            raise ConfigError(f"experiment {self.name!r} has neither a command of its own nor `run {self.name}`")
        if wrong := [
            name
            for name, preset in {**self.presets, "smoke": self.smoke}.items()
            if not isinstance(preset, self.config)
        ]:
            raise ConfigError(f"presets {', '.join(wrong)} of experiment {self.name!r} are no {self.config.__name__}")


@dataclasses.dataclass(frozen=True)
class Listed:
    """What `list` shows of an experiment, whose module is not loaded before it is needed.

    module: whose `EXPERIMENT` it is. question: it becomes that of the experiment. typed: what a person types; empty is
    `run NAME`, and the name is that of the experiment's own command. presets: all but "full". prepare: whether
    `prepare NAME` is there.
    """

    module: str
    question: str
    typed: str = ""
    presets: tuple[str, ...] = ()
    prepare: bool = False


Catalogue: TypeAlias = Mapping[str, Listed | Experiment]
"""Name of each experiment -> the experiment, or where it is."""


Tools: TypeAlias = Mapping[str, str | Tool]
"""Name of each command without an experiment -> the command, or the module whose `COMMAND` it is."""


def load(name: str, catalogue: Catalogue) -> Experiment:
    """The experiment called `name`. Raises ConfigError with the nearest name where there is none."""
    if name not in catalogue:
        raise ConfigError(f"no experiment is called {name!r}; {errors.hint(name, catalogue)}")
    entry = catalogue[name]
    if isinstance(entry, Experiment):
        return entry
    experiment: Experiment = importlib.import_module(entry.module).EXPERIMENT
    return dataclasses.replace(experiment, question=entry.question)


def check(experiment: Experiment, config: Config) -> None:
    """ConfigError, with option, value and range, for the first number that is out of its range or does not fit
    another.
    """
    ranges.check(config)
    configuration.seeds(config)
    if experiment.check is not None:
        experiment.check(config)


def tool(name: str, tools: Tools) -> Tool:
    """The command without an experiment called `name`."""
    entry = tools[name]
    return importlib.import_module(entry).COMMAND if isinstance(entry, str) else entry
