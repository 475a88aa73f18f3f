"""What the few-step experiment on pictures with text shows: curves against evaluations, the same pictures by every method, and tables."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.diffusion import few_evaluations
from experiments.diffusion.few_step_text.answers import Answers
from experiments.diffusion.few_step_text.config import EMOJI, Config
from experiments.diffusion.few_step_text.methods import DDIM, GUIDED, GUIDED_DDIM, GUIDED_MULTISTEP, LEARNED, SAVING, UNIPC, UNTRAINED
from experiments.diffusion.few_step_text.subjects import ADHERES
from gendiff.data import emoji
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder

FILES = {DDIM: "unguided", GUIDED_DDIM: "guided"}
"""The curves of each reference and of what is held against it."""
SET = r".+?, seed \d+, (.+), (\d+) steps"
"""How a set is called in the tables: its method and its steps."""
_KINDS = {DDIM: (DDIM, UNIPC, LEARNED), GUIDED_DDIM: (GUIDED_DDIM, GUIDED, GUIDED_MULTISTEP, *SAVING)}


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> Iterator[Figure]:
    """Curves of distances and of adherence of every network, left in the folder."""
    for network in config.networks:
        yield from _curves(config, folder, network, next(table for table in tables if table.title.startswith(f"{network}: every set")))


def _curves(config: Config, folder: RunFolder, network: str, sets: Table) -> Iterator[Figure]:
    rows = [(*re.fullmatch(SET, str(row[0])).groups(), row) for row in sets.rows]  # type: ignore[union-attr]

    def values(method: str, column: int) -> dict[float, list[float]]:
        """By evaluations the numbers of the seeds."""
        by_steps: dict[int, list[Any]] = {}
        for name, steps, row in rows:
            if name == method:
                by_steps.setdefault(int(steps), []).append(row)
        return {float(np.mean([row[1] for row in of])): [row[column][0] for row in of] for _, of in sorted(by_steps.items())}

    def plot(reference: str, methods: Sequence[str], file: str, words: str, column: int = 2, **axis: Any) -> Figure:
        level = float(np.mean(values(reference, column)[float(config.reference)]))
        curves = {method: values(method, column) for method in methods}
        caption, place = f"{network}: {words} against evaluations of the network per picture", folder.figure(f"{network}_{file}")
        return few_evaluations.curves(curves, (f"{reference} in {config.reference}", level), place, caption, **axis)

    for reference, methods in _KINDS.items():
        yield plot(reference, methods, FILES[reference], "Fréchet distance of pictures")
    taught = GUIDED_DDIM, DDIM, *config.students
    yield plot(GUIDED_DDIM, taught, "students", "Fréchet distance of pictures of students")
    axis: dict[str, Any] = {"measure": "share of pictures", "log_y": False}
    words = f"share of pictures that {ADHERES[network]},"
    methods = UNIPC, *_KINDS[GUIDED_DDIM], config.judged_student
    yield plot(GUIDED_DDIM, methods, "adherence", words, column=4, **axis)


def tables(config: Config, answered: Answers, differences: Mapping[str, Number], losses: Mapping[str, Number]) -> Iterator[Table]:
    """Every number of every set, every difference with its sign, what the ways to save lose, and the levels that were learned.

    differences: of Fréchet distances, by set. losses: of adherence against guidance everywhere, by method; in as many steps, or of students
    as `Config.judged_at` says.
    """
    network, steps = answered.subject.name, max(config.saving)
    columns = ("set", "evaluations", "Fréchet / floor", "recall", "shows its caption", "milliseconds per picture")
    rows = tuple(
        (each.name, round(of.evaluations, 2), of.frechet, of.recall, intervals.share(of.hits), round(1000 * of.seconds, 2))
        for each, of in answered.every.items()
    )
    yield Table(f"{network}: every set of {config.pictures} pictures", columns, rows)
    title = f"{network}: Fréchet distances compared, paired by picture: (F - F of the reference) / F of the reference, 90 % intervals"
    yield Table(title, ("set", "d"), tuple(differences.items()))
    everywhere = answered.evaluations(GUIDED, steps)
    title = f"{network}: ways to save evaluations under guidance, in {steps} steps, against guidance everywhere"
    ways = ("way", "share of the evaluations", "loss of the share that shows its caption")
    taught = config.judged_at()
    made = {name: answered.evaluations(name, taught.get(name, steps)) / everywhere for name in losses}
    yield Table(title, ways, tuple((name, made[name], number) for name, number in losses.items() if name not in taught))
    title = (
        f"{network}: students in {config.distilled} evaluations, or as many as they draw in, against guidance everywhere in {steps} steps"
    )
    yield Table(title, ways, tuple((name, made[name], losses[name]) for name in taught))
    yield few_evaluations.learned_levels((f"{network}, {LEARNED}", count, found) for count, found in answered.learned.items())


def reference_steps(config: Config) -> dict[str, int]:
    """Steps of both references, which make as many evaluations."""
    return {DDIM: config.reference, GUIDED_DDIM: config.reference // 2}


def pictures(config: Config, folder: RunFolder, answered: Answers) -> Figure:
    """Some captions of the first seed, a row per method."""
    network, steps = answered.subject.name, reference_steps(config)
    rows = [(GUIDED_DDIM, steps[GUIDED_DDIM]), (DDIM, config.judged), (UNIPC, config.judged), (LEARNED, config.judged)]
    rows += [(GUIDED_MULTISTEP, config.default), (GUIDED, config.judged), *((name, max(config.saving)) for name in (GUIDED, *SAVING))]
    rows += [*config.judged_at().items(), (UNTRAINED, config.judged)]
    answers = [answered.of(*row)[0] for row in rows]
    by_row = [f"{name}, {answer.evaluations:.3g}" for (name, _), answer in zip(rows, answers, strict=True)]
    chosen = answered.subject.shown(config.shown)
    asked = "; ".join(f"{number}: {answered.subject.captions[row]}" for number, row in enumerate(chosen, 1))
    source = f" {emoji.ATTRIBUTION}." if network == EMOJI else ""
    described = f"By row, with evaluations per picture: {'; '.join(by_row)}."
    caption = f"{network}: one caption per column, from the same noise. {described} {asked}.{source}"
    images = np.concatenate([answer.shown for answer in answers])
    heads = [str(number + 1) for number in range(len(chosen))]
    return draw.grid(images, len(chosen), folder.figure(f"{network}_pictures"), caption, rows=by_row, heads=heads, colours=256)
