"""Numbers of a training that follow from the data and the device, what it costs, and what is said of it before it
starts.
"""

import time
from collections.abc import Callable, Mapping

from gendiff.commands import drawing_programs
from gendiff.commands.images import image_features
from gendiff.commands.train import data_paths, facts, named_networks, opened_pictures, training_cost
from gendiff.commands.train.config import Config, Numbers
from gendiff.commands.train.facts import Data, Described
from gendiff.commands.train.opened_pictures import Pictures
from gendiff.commands.train.training_cost import Cost
from gendiff.core import files
from gendiff.core.errors import ConfigError
from gendiff.data import random_access, sources
from gendiff.diffusion import schedules
from gendiff.runs import distributed
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting

CPU_FLOPS = 7.5e13
"""Of all steps on a CPU: 12 to 14 minutes on 2 cores, which do about 100 GFLOP per second of these."""
PASSES = 150
"""Over the training pictures, at most on a CPU."""
FEWEST_STEPS, MOST_STEPS = 1000, 200_000
ACCELERATOR_STEPS = 10_000
"""At least, on an accelerator."""
SMALL = ("unet-small", "dit-tiny", "lightning-dit-tiny")
"""Networks that learn at a higher rate."""
LARGE = 64
"""Pixels from which a CPU's batch is 16 in place of 32."""
FEW = 1000
"""Training pictures below which a network of this kind learns pictures by heart rather than what they have in
common.
"""
SHORT = 5
"""Over the pictures, below which a training is short."""
SHOWN, NAMED = 3, 8
"""Messages of skipped pictures, and names of classes."""
KEPT = 2
"""Checkpoints that stay."""
STORED = 2
"""Numbers per parameter in a checkpoint beside those: all of these but the gradient."""
FURTHER = 2
"""Numbers per parameter, beside those, of the averages whose snapshots are kept."""


def check(config: Config) -> None:
    """ConfigError, before any picture is read, for a sampler and features that cannot be had; DataError for a URL."""
    drawing_programs.sampler(config.sampler, None, schedules.flow())
    image_features.function(config)
    for name in filter(files.is_url, config.data):
        sources.open(name)


def numbers(config: Config, data: Data, cost: Cost, platform: str, devices: int = 1) -> Numbers:
    """What the configuration says, and what it leaves open by rule. ConfigError for a batch that pictures or devices do
    not allow.
    """
    if config.guidance != 1 and not data.classes:
        raise ConfigError(f"--guidance {config.guidance:g} leads towards a class, and {data.place} has none")
    cpu = platform == "cpu"
    usual = min(data.training, (16 if max(data.shape[:2]) >= LARGE else 32) if cpu else 128)
    batch = config.batch or max(devices, usual // devices * devices)
    if batch > data.training:
        raise ConfigError(
            f"--batch {batch} is more than the {data.training} training pictures of {data.place}: give --batch "
            f"{data.training} or less"
        )
    if batch % devices:
        raise ConfigError(f"--batch {batch} is no multiple of the {devices} devices")
    passes = PASSES * data.training / batch
    affordable = CPU_FLOPS / max(cost.flops * batch, 1.0)
    free = min(affordable, passes) if cpu else min(max(passes, ACCELERATOR_STEPS), MOST_STEPS)
    steps = config.steps or max(FEWEST_STEPS, int(free) // 100 * 100)
    rate = config.learning_rate or (1e-3 if config.network.startswith(SMALL) else 2e-4)
    return Numbers(steps, batch, rate, config.preview_every or max(1, steps // 20))


def of_data(data: Data, pictures: Pictures) -> list[str]:
    """Lines on the pictures."""
    height, width, channels = data.shape
    classes = (
        f"{len(data.classes)} classes ({', '.join(data.classes[:8])}{', …' if len(data.classes) > 8 else ''})"
        if data.classes
        else "no classes"
    )
    lines = [
        f"{data.place}: {data.training} pictures to learn from and {data.held_out} held out, {height} × {width} × "
        f"{channels}, {classes}"
    ]
    if data.sound is not None:
        lines.append(
            f"note: each picture is {data.sound.seconds:.2f} s of a sound at {data.sound.rate} Hz, in "
            f"{data.sound.mels} mel bins and {data.sound.frames} frames"
        )
    lines += [f"note: {note}" for note in pictures.notes]
    skipped, (enlarged, side) = pictures.skipped, pictures.enlarged
    if skipped:
        lines += [
            f"{len(skipped)} skipped: {random_access.reasons(skipped)}",
            *(f"  {message}" for message in skipped[:SHOWN]),
        ]
    if len(skipped) > SHOWN:
        lines.append(f"  all of them: {pictures.listed or opened_pictures.NO_LIST}")
    if enlarged:
        lines.append(
            f"note: {enlarged} of {data.training + data.held_out} pictures are smaller than {side} pixels and are "
            "enlarged, which blurs them; --size sets the side"
        )
    if data.training < FEW:
        lines.append(
            f"note: {data.training} pictures are few. Below {FEW} a network tends to learn them by heart: look at the "
            "nearest training pictures in the report before you believe its samples"
        )
    return lines


def of_training(config: Config, data: Data, cost: Cost, numbers: Numbers, devices: int) -> list[str]:
    """Lines on the network and what it costs."""
    further = training_cost.MOMENTS[config.optimizer] + (FURTHER if config.ema_snapshots else 0)
    state, activations = 4 * (training_cost.STATE + further) * cost.parameters, cost.kept * numbers.batch / devices
    passes = numbers.steps * numbers.batch / data.training
    stored = 4 * (STORED + further) * KEPT * cost.parameters
    count = config.ema_snapshots
    snapshots = f"; {count} snapshots: {formatting.scaled(4 * FURTHER * count * cost.parameters, 'B')}" if count else ""
    remarks = [named_networks.remark(config.network, data.shape)]
    if numbers.steps < FEWEST_STEPS:
        remarks.append(
            f"{numbers.steps} steps are few: samples will look like noise; give at least --steps {FEWEST_STEPS}"
        )
    elif passes < SHORT:
        remarks.append(
            f"the network sees each picture only {passes:.2g} times: give more --steps where samples lack shape"
        )
    flops, memory, kept_memory, disk = (
        formatting.scaled(value, unit)
        for value, unit in ((cost.flops * numbers.batch, "FLOP"), (state, "B"), (activations, "B"), (stored, "B"))
    )
    return [
        f"{config.network}: {cost.parameters / 1e6:.2f} M parameters, {numbers.steps} steps of {numbers.batch} "
        f"pictures ({passes:.3g} passes over them)",
        f"{flops} per step (XLA's count of the gradient; optimizer and average not counted), "
        f"{formatting.scaled(cost.flops * numbers.batch * numbers.steps, 'FLOP')} in all",
        f"memory per device: {memory} for parameters, moments, average and gradient, and at most {kept_memory} for the "
        f"backward pass; checkpoints: {disk} for {KEPT}{snapshots}",
        *(f"note: {remark}" for remark in remarks if remark),
    ]


def dry_run(config: Config, progress: Progress) -> None:
    """Prints the plan of each set of pictures. It decodes the pictures, traces the network, and computes nothing."""
    for name in config.data:
        path = data_paths.resolve(name)
        pictures = opened_pictures.open_pictures(config, path, None)
        data = facts.summarize(config, path, pictures)
        costs = training_cost.cost(config, facts.model(Described(config, data)))
        lines = of_data(data, pictures)
        for platform in ("cpu", "accelerator") if None in (config.steps, config.batch) else ("cpu",):
            title = f"on {'a CPU' if platform == 'cpu' else 'an accelerator'}: "
            first, *rest = of_training(config, data, costs, numbers(config, data, costs, platform), 1)
            lines += [title + first, *rest]
        for line in lines:
            progress.line(line)


def pace(steps: int, progress: Progress) -> Callable[[int, Mapping[str, object]], None]:
    """An `on_step` that says once, after the first ten steps of this process, how long a step takes and how much time
    is left.
    """
    seconds: list[float] = []

    def on_step(step: int, metrics: Mapping[str, object]) -> None:
        if len(seconds) > 10:
            return
        seconds.append(time.monotonic())
        if len(seconds) == 11:
            each = (seconds[-1] - seconds[0]) / 10
            progress.line(f"{each:.3g} s per step, {formatting.duration(each * (steps - step))} left")

    return on_step


def devices() -> tuple[str, int]:
    """(platform, number) of the devices that train."""
    everywhere = distributed.all_devices()
    return everywhere[0].platform, len(everywhere)
