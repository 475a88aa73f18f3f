"""How the image-watermark experiment judges, and what it shows."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.provenance.watermark_image import changes, measures
from experiments.provenance.watermark_image.config import Config, model
from experiments.provenance.watermark_image.measures import ALIKE, LEVEL, PLAIN, Found
from experiments.provenance.watermark_image.programs import RING, SHADING, SPREAD
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, verdicts
from gendiff.runs.reporting.intervals import interval, share
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

MARKS = RING, SHADING, SPREAD
SHOWN = 12
"""Pictures in a row."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables from the checkpoints of the folder."""
    found = measures.examine(config, model(config), folder, progress)
    with progress.phase("judge"):
        claims = [*_of_sets(config, found), *_of_nulls(config, found), *(c for seed in found for c in _of_seed(config, seed, found[seed]))]
    tables = _tables(config, found)
    return Outcome(tuple(claims), (*_figures(config, folder, found), *plots(config, folder, tables)), tables)


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """Shares of each mark after each change, and against the strength of img2img."""
    by_change: dict[Any, Any] = {row[0]: dict(zip(MARKS, row[1:], strict=False)) for row in tables[0].rows}
    caption = f"Share of marked pictures with p ≤ {LEVEL:g}, all seeds together, with 95 % intervals."
    alarms = (("false alarms", LEVEL),)
    changed = figures.bars(by_change, folder.figure("changes"), caption, x_label="share found", thresholds=alarms)
    names = [changes.UNCHANGED, *(f"img2img {strength:g}" for strength in config.strengths)]
    strengths = np.array([0.0, *config.strengths])
    curves = [figures.Curve(mark, strengths, *np.array([by_change[name][mark] for name in names]).T) for mark in MARKS]
    caption = f"Share of marked pictures with p ≤ {LEVEL:g} after img2img, all seeds together."
    options: Any = {"x_label": "strength of img2img", "y_label": "share found", "thresholds": alarms}
    return changed, figures.curves(curves, folder.figure("strengths"), caption, **options)


def _of_seed(config: Config, seed: int, found: Found) -> list[Claim]:
    """Bits, and how many marked pictures are found."""
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.marked)
    claims = [claim("bits", f"{SHADING}: share of bits read right, unchanged", interval(np.mean, found.right[changes.UNCHANGED]), ">=")]
    for name in (RING, SHADING):
        for change in changes.mildest(config):
            slug = f"{_slug(name)}-{_slug(change)}"
            statement = f"{name}, {change}: share of pictures with p ≤ {LEVEL:g}"
            claims.append(claim(slug, statement, share(found.p[name][change] <= LEVEL), ">=", "detected", figure="changes.png"))
    for name in found.p:
        statement = f"{name}: share of marked pictures with p ≤ {LEVEL:g} under wrong keys"
        claims.append(claim(f"{_slug(name)}-wrong-key", statement, share(found.wrong[name] <= LEVEL), "<=", "detected", kind="control"))
    return claims


def _of_nulls(config: Config, found: dict[int, Found]) -> list[Claim]:
    """Whether p-values are uniform without the key, over all seeds."""
    count = config.marked * len(found)
    claim = functools.partial(verdicts.against, config.thresholds, None, n=count, figure="p_values.png")
    claims = []
    for name in MARKS:
        for which, pictures in (("blank", "unmarked pictures"), ("wrong", "marked pictures under wrong keys")):
            p = np.concatenate([getattr(of, which)[name] for of in found.values()])
            statement = f"{name}: Kolmogorov-Smirnov p of the p-values of {pictures}"
            claims.append(claim(f"{_slug(name)}-{which}", statement, measures.uniform(p), ">=", "uniform"))
    plug_in = measures.uniform(np.concatenate([of.plug_in for of in found.values()]))
    statement = f"{RING}: Kolmogorov-Smirnov p of the published p-values of unmarked pictures"
    return [*claims, claim("plug-in", statement, plug_in, "<=", "uniform", kind="control")]


def _of_sets(config: Config, found: dict[int, Found]) -> list[Claim]:
    """Whether Gaussian Shading changes pictures or sets, over all seeds; one nonce for all must change the set."""
    claim = functools.partial(verdicts.against, config.thresholds, None, n=config.set_size * len(found))
    noises = {name: np.concatenate([of.noises[name] for of in found.values()]) for name in (SHADING, ALIKE)}
    claims = [claim("normal", f"{SHADING}: p that the noise of each picture is normal", measures.normal(noises[SHADING]), ">=")]
    for name in (SHADING, ALIKE):
        of: Any = (">=", "claim", "", SHADING) if name == SHADING else ("<=", "control", "-one-nonce", f"{SHADING} with one nonce for all")
        relation, kind, suffix, words = of
        # one set at a time for the control, since each seed has a nonce of its own
        lean = measures.signs(noises[name]) if name == SHADING else max(measures.signs(each.noises[name]) for each in found.values())
        _, p = measures.permuted([(each.sets[PLAIN], each.sets[name]) for each in found.values()], config.permutations)
        of_signs, of_sets = "p that no number has a sign of its own across the set", "p that the pictures are as unmarked ones"
        claims.append(claim(f"signs{suffix}", f"{words}: {of_signs}", lean, relation, "signs", kind=kind))
        claims.append(claim(f"frechet{suffix}", f"{words}: {of_sets}", p, relation, "frechet", kind=kind))
    return claims


def _figures(config: Config, folder: RunFolder, found: dict[int, Found]) -> tuple[Figure, ...]:
    first = found[config.seeds[0]]
    count = min(SHOWN, config.marked)
    rows = [first.pictures[name][:count] for name in (PLAIN, SPREAD, RING, SHADING)]
    all_changes = changes.changes(config)
    changed = {name: change(first.pictures[SHADING][:count]) for name, change in all_changes.items() if name != changes.UNCHANGED}
    of_marks = f"One row each: {PLAIN}, the same with {SPREAD}, {RING}, {SHADING}; not selected."
    of_changes = f"The last row above after {', '.join(changed)}."
    return (
        figures.grid(np.concatenate(rows), count, folder.figure("pictures"), of_marks, rows=[PLAIN, SPREAD, RING, SHADING]),
        figures.grid(np.concatenate([*changed.values()]), count, folder.figure("changed"), of_changes, rows=list(changed)),
        _of_p(folder, found),
    )


def _of_p(folder: RunFolder, found: dict[int, Found]) -> Figure:
    """The distribution of p-values of unmarked pictures, by rank and as published."""
    level = np.linspace(0, 1, 101)
    of = {name: np.concatenate([each.blank[name] for each in found.values()]) for name in MARKS}
    of[f"{RING}, as published"] = np.concatenate([each.plug_in for each in found.values()])
    curves = [figures.Curve(name, level, np.mean(p[:, None] <= level[None], 0)) for name, p in of.items()]
    caption = "Share of unmarked pictures whose p is at most a level: the diagonal, if p-values are what they say."
    diagonal = figures.Curve("uniform", level, level, reference=True)
    return figures.curves([*curves, diagonal], folder.figure("p_values"), caption, x_label="level", y_label="share")


def _tables(config: Config, found: dict[int, Found]) -> tuple[Table, ...]:
    claimed, lines = changes.mildest(config), []
    for change in next(iter(found.values())).p[RING]:
        bits = interval(np.mean, np.concatenate([of.right[change] for of in found.values()]))
        shares = [_found(found, name, change) for name in MARKS]
        lines.append((change, *shares, bits, "yes" if change in claimed else "no"))
    title = f"Share of marked pictures with p ≤ {LEVEL:g}, all seeds together"
    note = "Claims are made of both marks in the noise, each seed alone. The spread spectrum is beside them, weaker and without a model."
    columns = ("change", RING, SHADING, SPREAD, f"bits of {SHADING}", "claimed")
    alarms = []
    for name in MARKS:
        own, one = (np.concatenate([getattr(of, which)[name] for of in found.values()]) for which in ("blank", "one_key"))
        alarms.append((name, share(own <= LEVEL), share(one <= LEVEL), measures.uniform(own), measures.uniform(one)))
    psnr = float(np.mean([of.psnr.mean() for of in found.values()]))
    beside = Table(
        f"Unmarked pictures with p ≤ {LEVEL:g}, and Kolmogorov-Smirnov p that all p-values are uniform",
        ("mark", "a key for each", "the seed's one key", "uniform, a key for each", "uniform, one key"),
        tuple(alarms),
        note=f"P-values are exact over keys; one key has false alarms of its own. The spread spectrum is at {psnr:.1f} dB.",
    )
    return Table(title, columns, tuple(lines), note=note, main=True), beside


def _found(found: dict[int, Found], name: str, change: str) -> verdicts.Number:
    return share(np.concatenate([of.p[name][change] for of in found.values()]) <= LEVEL)


def _slug(words: str) -> str:
    return words.lower().replace(" ", "-").replace(".", "")
