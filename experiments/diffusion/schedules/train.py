"""The schedules of the experiment, the network that each of them trains, and the trainings."""

import dataclasses

from experiments.diffusion import image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.schedules import learned
from experiments.diffusion.schedules.config import Config
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff.data import digits
from gendiff.diffusion import learned_schedule, parameterization, schedules
from gendiff.diffusion.schedules import Schedule


def fixed(config: Config) -> dict[str, Schedule]:
    """The schedules that do not learn, and "loud": linear's betas divided by ten, which leaves the noisy end far from noise."""
    known = {
        "linear": schedules.linear(config.levels),
        "cosine": schedules.cosine(config.levels),
        "sigmoid": schedules.sigmoid(config.levels),
        "loud": schedules.linear(config.levels, 1e-5, 0.002),
    }
    return {name: known[name] for name in (*config.names, "loud")}


def start(config: Config) -> learned_schedule.LearnedSchedule:
    """The learned schedule before training: log-SNR linear in u between linear's ends."""
    return learned_schedule.monotone(learned.ends(fixed(config)["linear"]), hidden=config.hidden)


def model(config: Config) -> Model:
    """The network that every schedule trains, with linear's schedule."""
    return image_training.digits_model(config, fixed(config)["linear"], parameterization.velocity())


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per schedule and seed, each schedule in a folder of its own, since each compiles its own step."""
    data, network = image_training.digits_batch(digits.load()), model(config)
    for name, schedule in fixed(config).items():
        place, seeds = image_training.inside(folder, name), config.seeds[: config.loud_seeds] if name == "loud" else config.seeds
        image_training.train(config, dataclasses.replace(network, schedule=schedule), data, place, progress, seeds=seeds)
    image_training.train(
        config,
        dataclasses.replace(network, init=learned.init(network, start(config))),
        data,
        image_training.inside(folder, "learned"),
        progress,
        seeds=config.seeds,
        loss=learned.JointLoss(network.predict, network.parameterization, config.drop_condition, config.schedule_batch, digits.LEVELS),
        optimizer=learned.optimizer(config),
    )
