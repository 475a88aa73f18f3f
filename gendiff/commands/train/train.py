"""Trains a network on each set of pictures, and shows on the way what it draws; or a change of a model in a folder."""

import dataclasses
from collections.abc import Callable, Mapping

from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Learning
from gendiff.commands.train import data_paths, facts, opened_pictures, plan, training_cost
from gendiff.commands.train.config import Config, Numbers
from gendiff.commands.train.facts import Data, Described, Facts
from gendiff.commands.train.fine_tuning import jobs
from gendiff.commands.train.fine_tuning import train as fine_tuning
from gendiff.commands.train.opened_pictures import Pictures
from gendiff.commands.train.preview import Previews
from gendiff.commands.train.training_cost import Cost
from gendiff.data.images.image_set import Images
from gendiff.diffusion.types import Batch
from gendiff.runs import meshes
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import post_hoc_ema, sharding
from gendiff.training.fit import OnStep

SNAPSHOT_LENGTHS = (0.05, 0.1)
"""Relative standard deviations of the two averages whose snapshots are kept (Karras et al., 2024, section 3.2, from
memory).
"""


@dataclasses.dataclass(frozen=True)
class Planned:
    """One training that can start. place: its run folder."""

    name: str
    place: RunFolder
    pictures: Pictures
    data: Data
    numbers: Numbers
    cost: Cost


def train_config(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Trains what the configuration asks for."""
    (fine_tuning.train if config.of_model else train)(config, folder, progress)


def plan_config(config: Config, progress: Progress) -> None:
    """Says what a run would do."""
    (jobs.dry_run if config.of_model else plan.dry_run)(config, progress)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per set of pictures and seed. All sets are opened before the first training."""
    platform, devices = plan.devices()
    planned = []
    for entry, (name, set_folder) in zip(config.data, facts.places(config, folder), strict=True):
        path = data_paths.resolve(entry)
        with progress.phase(f"open {name}"):
            pictures = opened_pictures.open_pictures(config, path, folder)
        data = facts.summarize(config, path, pictures)
        cost = training_cost.cost(config, facts.model(Described(config, data)))
        planned.append(
            Planned(name, set_folder, pictures, data, plan.numbers(config, data, cost, platform, devices), cost)
        )
    for entry, each in zip(config.data, planned, strict=True):
        facts.begin(folder, each.place, config, entry)
        numbers = facts.settle(each.place, Facts(each.data, each.numbers)).numbers
        for line in plan.of_data(each.data, each.pictures) + plan.of_training(
            config, each.data, each.cost, numbers, devices
        ):
            progress.line(line)
        with progress.phase(f"train {each.name}"):
            _one_set(config, dataclasses.replace(each, numbers=numbers), progress)


def _one_set(config: Config, planned: Planned, progress: Progress) -> None:
    described = Described(config, planned.data)
    network = facts.model(described)
    share = sharding.share(meshes.build(planned.place.mesh, network.rules))
    for seed in config.seeds:
        with opened_pictures.batches(planned.pictures, planned.numbers.batch, seed, config.flip, share) as batches:
            previews = Previews(config, described, planned.numbers, planned.pictures, planned.place, seed)
            image_training.train(
                _learning(config, planned.numbers),
                network,
                _as_batch(batches, planned.data.classes),
                planned.place,
                progress,
                seeds=[seed],
                batch=None,
                fingerprint=planned.pictures.fingerprint,
                ema=(config.ema, *map(post_hoc_ema.power, SNAPSHOT_LENGTHS if config.ema_snapshots else ())),
                ema_warm_up=True,
                on_step=_both(plan.pace(planned.numbers.steps, progress), previews.on_step),
                on_state=previews.on_state,
                snapshot_every=_snapshot_every(config, planned.numbers),
            )


def _learning(config: Config, numbers: Numbers) -> Learning:
    return Learning(
        train_steps=numbers.steps,
        batch=numbers.batch,
        optimizer=config.optimizer,
        learning_rate=numbers.learning_rate,
        muon_learning_rate=config.muon_learning_rate,
        warmup=min(config.warmup, numbers.steps // 10),
        weight_decay=config.weight_decay,
        clip=config.clip,
        ema=config.ema,
        drop_condition=config.drop_condition,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )


def _snapshot_every(config: Config, numbers: Numbers) -> int | None:
    return max(1, numbers.steps // config.ema_snapshots) if config.ema_snapshots else None


def _both(first: OnStep, second: OnStep) -> OnStep:
    def on_step(step: int, metrics: Mapping[str, object]) -> None:
        first(step, metrics)
        second(step, metrics)

    return on_step


def _as_batch(batches: Callable[[int], Images], classes: tuple[str, ...]) -> Callable[[int], Batch]:
    def batch(step: int) -> Batch:
        images = batches(step)
        return Batch(clean=images.clean, condition=(images.labels,) if classes else ())

    return batch
