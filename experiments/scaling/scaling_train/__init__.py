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

from experiments.scaling.scaling_train import judge, rows, train
from experiments.scaling.scaling_train.config import Config, Sweep, Thresholds, check
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting import formatting

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
    check=check,
    plan=plan,
)
