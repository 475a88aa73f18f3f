"""What is said before a training starts, and after its first ten steps."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from gendiff.commands.train import defaults, facts, named_networks, opened_pictures
from gendiff.commands.train.config import Config
from gendiff.commands.train.defaults import Cost
from gendiff.commands.train.facts import Data, Described, Numbers
from gendiff.commands.train.opened_pictures import Pictures
from gendiff.data import random_access
from gendiff.runs import distributed
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting

FEW = 1000
"""Training pictures below which a network of this kind learns pictures by heart rather than what they have in common."""
PASSES = 5
"""Over the pictures, below which a training is short."""
SHOWN, NAMED = 3, 8
"""Messages of skipped pictures, and names of classes."""
KEPT = 2
"""Checkpoints that stay."""
MOMENTS = {"adamw": 2, "muon": 1}
"""Numbers per parameter that an optimizer keeps. Muon is counted as if all parameters were in matrices, and nearly all are."""
STATE = 3
"""Numbers per parameter in memory beside those: itself, the average and the gradient."""
STORED = 2
"""Numbers per parameter in a checkpoint beside those: all of these but the gradient."""
FURTHER = 2
"""Numbers per parameter, beside those, of the averages whose snapshots are kept."""


def of_data(data: Data, pictures: Pictures) -> list[str]:
    """Lines on the pictures."""
    height, width, channels = data.shape
    classes = (
        f"{len(data.classes)} classes ({', '.join(data.classes[:8])}{', …' if len(data.classes) > 8 else ''})"
        if data.classes
        else "no classes"
    )
    lines = [
        f"{data.place}: {data.training} pictures to learn from and {data.held_out} held out, {height} × {width} × {channels}, {classes}"
    ]
    skipped, (enlarged, side) = pictures.skipped, pictures.enlarged
    if skipped:
        lines += [f"{len(skipped)} skipped: {random_access.reasons(skipped)}", *(f"  {message}" for message in skipped[:SHOWN])]
    if len(skipped) > SHOWN:
        lines.append(f"  all of them: {pictures.listed or opened_pictures.NO_LIST}")
    if enlarged:
        lines.append(
            f"note: {enlarged} of {data.training + data.held_out} pictures are smaller than {side} pixels and are enlarged, which blurs "
            "them; --size sets the side"
        )
    if data.training < FEW:
        lines.append(
            f"note: {data.training} pictures are few. Below {FEW} a network tends to learn them by heart: look at the nearest training "
            "pictures in the report before you believe its samples"
        )
    return lines


def of_training(config: Config, data: Data, cost: Cost, numbers: Numbers, devices: int) -> list[str]:
    """Lines on the network and what it costs."""
    further = MOMENTS[config.optimizer] + (FURTHER if config.ema_snapshots else 0)
    state, kept = 4 * (STATE + further) * cost.parameters, cost.kept * numbers.batch / devices
    passes = numbers.steps * numbers.batch / data.training
    stored = 4 * (STORED + further) * KEPT * cost.parameters
    count = config.ema_snapshots
    snapshots = f"; {count} snapshots: {formatting.scaled(4 * FURTHER * count * cost.parameters, 'B')}" if count else ""
    remarks = [named_networks.remark(config.network, data.shape)]
    if numbers.steps < defaults.FEWEST_STEPS:
        remarks.append(f"{numbers.steps} steps are few: samples will look like noise; give at least --steps {defaults.FEWEST_STEPS}")
    elif passes < PASSES:
        remarks.append(f"the network sees each picture only {passes:.2g} times: give more --steps where samples lack shape")
    flops, memory, kept_memory, disk = (
        formatting.scaled(value, unit) for value, unit in ((cost.flops * numbers.batch, "FLOP"), (state, "B"), (kept, "B"), (stored, "B"))
    )
    return [
        f"{config.network}: {cost.parameters / 1e6:.2f} M parameters, {numbers.steps} steps of {numbers.batch} pictures "
        f"({passes:.3g} passes over them)",
        f"{flops} per step (XLA's count of the gradient; optimizer and average not counted), "
        f"{formatting.scaled(cost.flops * numbers.batch * numbers.steps, 'FLOP')} in all",
        f"memory per device: {memory} for parameters, moments, average and gradient, and at most {kept_memory} for the backward pass; "
        f"checkpoints: {disk} for {KEPT}{snapshots}",
        *(f"note: {remark}" for remark in remarks if remark),
    ]


def dry_run(config: Config, progress: Progress) -> None:
    """Prints the plan of each set of pictures. It decodes the pictures, traces the network, and computes nothing."""
    for name in config.data:
        path = opened_pictures.place(name)
        pictures = opened_pictures.open_pictures(config, path, None)
        data = facts.of(config, path, pictures)
        cost = defaults.cost(config, facts.model(Described(config, data)))
        lines = of_data(data, pictures)
        for platform in ("cpu", "accelerator") if None in (config.steps, config.batch) else ("cpu",):
            title = f"on {'a CPU' if platform == 'cpu' else 'an accelerator'}: "
            first, *rest = of_training(config, data, cost, defaults.numbers(config, data, cost, platform), 1)
            lines += [title + first, *rest]
        for line in lines:
            progress.line(line)


def pace(steps: int, progress: Progress) -> Callable[[int, Mapping[str, Any]], None]:
    """An `on_step` that says once, after the first ten steps of this process, how long a step takes and how much time is left."""
    seen: list[float] = []

    def on_step(step: int, metrics: Mapping[str, Any]) -> None:
        if len(seen) > 10:
            return
        seen.append(time.monotonic())
        if len(seen) == 11:
            each = (seen[-1] - seen[0]) / 10
            progress.line(f"{each:.3g} s per step, {formatting.duration(each * (steps - step))} left")

    return on_step


def devices() -> tuple[str, int]:
    """(platform, number) of the devices that train."""
    everywhere = distributed.all_devices()
    return everywhere[0].platform, len(everywhere)
