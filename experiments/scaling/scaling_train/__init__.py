"""How do loss and the best size grow with the operations of training, and what does a fixed horizon make of that?

    python -m experiments run scaling-train
    python -m experiments run scaling-train --shards 0/4    a quarter of the trainings; `run` without --shards then judges all
    python -m experiments run scaling-train --dry-run       what is trained and what it costs

Small language models of bytes learn Python's manual and sources at budgets over one and a half decades; the learning rate of each falls
until its own end, and each budget has its best size. By Kaplan's protocol one horizon serves all, and losses are read on the way: that
moves the exponent of the best size. Diffusion transformers of rendered shapes go through the same sweep. Texts of shuffled bytes are the
control, which no budget may help. Any row is one training of seconds to minutes, is resumed after a kill, and is never trained twice.
`rows.csv` in the run folder holds every training, and `gendiff scaling-fit --data` reads `points_text.csv` beside it.
"""

from typing import Any

from experiments.scaling.scaling_train import figures, judge, rows, train
from experiments.scaling.scaling_train.config import Config, Sweep, Thresholds, check
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting import formatting
from gendiff.runs.reporting.answers import Answer, Cell, Change, Control

__all__ = ["EXPERIMENT", "Config", "Sweep", "Thresholds"]


def plan(config: Config, progress: Progress) -> None:
    """Prints every row with its steps and operations."""
    every = rows.rows(config)
    for row in every:
        cost = rows.cost_of(row)
        sizes = f"width {row.width}, {row.depth} blocks, {formatting.number(cost.parameters)} parameters"
        spent = f"{row.marks[-1]} steps of {cost.step_tokens} tokens, {rows.flops(row):.2e} operations"
        progress.line(f"{row.kind}: {sizes}; {len(row.seeds)} seeds, learning rate {row.rate:.2g}, {spent}")
    total = sum(map(rows.flops, every))
    progress.line(f"{len(every)} rows, {total:.2e} operations: {formatting.duration(total / 1e10)} at 10¹⁰ operations per second")


_SMOKE: dict[str, Any] = {
    "length": 16,
    "judged": 16,
    "least_steps": 1,
    "horizon": 40,
    "checked": (0, 1),
    "resamples": 10,
}

_EXPONENTS, _TEXT, _EXPONENT = "How the best size grows", "text, matched horizons", "exponent of the best size"

ANSWER = Answer(
    roles={
        "bend": "E16",
        "interior*": "check",
        "r-squared*": "check",
        "gain": "check",
        "rate": "check",
        "gain-shuffled": "check",
    },
    controls=(Control("gain-shuffled", against="gain", by="<="),),
    text="loss is a power law of operations (R² {r-squared:.3f}); the exponent of the best size is {surface:.2f} to "
    "{parabolas:.2f}, by method",
    statements={
        "E16": "In small trainings Kaplan's protocol, which should raise the exponent of the best size, changes it by {bend:.2f interval}",
        "E17": "The best size grows as operations to the power {parabolas:.2f interval} by parabolas, {envelope:.2f} by the envelope, "
        "{surface:.2f} by a surface (Chinchilla: 0.5)",
    },
    numbers={
        "parabolas": Cell(_EXPONENTS, (_TEXT, "all", "2: parabolas"), _EXPONENT),
        "envelope": Cell(_EXPONENTS, (_TEXT, "all", "1: envelope"), _EXPONENT),
        "surface": Cell(_EXPONENTS, (_TEXT, "all", "3: surface"), _EXPONENT),
    },
    picture="isoflop.png",
    before=(
        Change(
            "2026-11-27",
            "aca6b41",
            "After a first run, not committed: smaller networks of equal depth, batches of 4 in place of 8, a fixed "
            "horizon of 8,000 steps.",
            "The best size of the smaller budgets was the smallest network, and one block is another kind of network than two.",
        ),
        Change(
            "2026-11-27",
            "aca6b41",
            "R² and gain are those of the least losses that were measured; the bend compares both protocols on the "
            "same networks and budgets.",
            "Parabolas of other sizes would differ by themselves.",
        ),
        Change(
            "2026-11-28",
            "63e2ba8",
            "The 57 trainings were shared by two processes of one core each and took 23 min 46 s; the time below is that of the judgement.",
            "The committed run went on with trainings that were finished.",
        ),
        Change(
            "2026-11-30",
            "a19e1a3f7",
            "Controls are compared with a treatment of the same measure, where they shared the threshold of their claim.",
            "A control that the treatment itself meets says nothing.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="scaling-train",
    question="How do loss and the best size grow with the operations of training?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        text=Sweep(widths=(8, 16), depths=(1, 1), budgets=(1e7, 2e7), batch=2, rate=0.3),
        pictures=Sweep(widths=(8,), depths=(1,), budgets=(1e7, 2e7), batch=2, rate=0.1),
        **_SMOKE,
    ),
    train=train.train,
    sweep=train.compute,
    evaluate=judge.evaluate,
    plots=figures.plots,
    check=check,
    plan=plan,
    answer=ANSWER,
)
