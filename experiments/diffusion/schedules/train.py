"""The schedules of the experiment, the network that each of them trains, and the trainings.

One loss serves network and learned schedule. The network learns by the loss that all schedules share and does not see the schedule move;
the schedule descends the variance of the drawn bound (Kingma et al., 2021, App. I.2) and leaves the network alone.
"""

import dataclasses
from typing import Any

import jax
import optax

from experiments.diffusion.schedules.config import Config
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Metrics, Params
from gendiff.data import digits
from gendiff.diffusion import learned_schedule, objectives, parameterization, schedules, weighting
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Level
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


def fixed(config: Config) -> dict[str, Schedule]:
    """The schedules that do not learn, and "loud": linear's betas divided by ten, which leaves the noisy end far from noise."""
    linear, levels = schedules.linear, config.levels
    known = {"linear": linear(levels), "cosine": schedules.cosine(levels), "sigmoid": schedules.sigmoid(levels)}
    return {name: known[name] for name in config.names} | {"loud": linear(levels, 1e-5, 0.002)}


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.known("names", config.names, ("linear", "cosine", "sigmoid"))
    for needed in ("linear", "cosine"):
        ranges.among("names", needed, "names", config.names)
    ranges.at_most("loud-seeds", config.loud_seeds, "seeds, whose number is", len(config.seeds))
    ranges.at_most("sampling-steps", config.sampling_steps, "levels", config.levels)
    noisiest = max(ends(schedule)[1] for schedule in fixed(config).values())
    if config.cleanest <= noisiest:
        raise ConfigError(f"--cleanest {config.cleanest} must be above {noisiest:.4g}, the log-SNR at which a schedule ends")


def start(config: Config) -> learned_schedule.LearnedSchedule:
    """The learned schedule before training: log-SNR linear in u between linear's ends."""
    return learned_schedule.monotone(ends(fixed(config)["linear"]), hidden=config.hidden)


def model(config: Config) -> Model:
    """The network that every schedule trains, with linear's schedule."""
    return image_training.unet(config, fixed(config)["linear"], parameterization.velocity())


def with_schedule(config: Config) -> Model:
    """The same with parameters {"network", "schedule"}: the network as for any schedule, and the schedule before training."""
    network = model(config)
    return dataclasses.replace(network, init=lambda key: {"network": network.init(key), "schedule": start(config)})


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per schedule and seed, each schedule in a folder of its own, since each compiles its own step."""
    data, network = image_training.digits_batch(digits.load()), model(config)
    for name, schedule in fixed(config).items():
        place, seeds = folder.inside(name), config.seeds[: config.loud_seeds] if name == "loud" else config.seeds
        image_training.train(config, dataclasses.replace(network, schedule=schedule), data, place, progress, seeds=seeds)
    joint: dict[str, Any] = {"loss": joint_loss(config, network), "optimizer": optimizer(config), "seeds": config.seeds}
    joint["description"] = None  # its parameters are those of a network and a schedule
    image_training.train(config, with_schedule(config), data, folder.inside("learned"), progress, **joint)


def joint_loss(config: Config, network: Model) -> Loss:
    """(params {"network", "schedule"}, key, batch) -> the shared loss + `learned_schedule.objective` on the first `schedule_batch` samples.

    Each part stops the other's gradient. Metrics: those of both; `mse` and `network_loss` are comparable between schedules.
    """
    options: dict[str, Any] = {"levels": weighting.stratified_levels(), "drop_condition": config.drop_condition}

    def loss_fn(params: Params, key: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        network_key, schedule_key = jax.random.split(key)
        still, constant = (jax.lax.stop_gradient(params[part]) for part in ("schedule", "network"))
        shared = objectives.denoising(network.predict, still, network.parameterization, **options)
        loss, metrics = shared(params["network"], network_key, batch)
        few = jax.tree.map(lambda array: array[: config.schedule_batch], batch)
        denoise = network.denoiser(constant, *few.condition)
        of_schedule = params["schedule"], schedule_key, denoise, few.clean
        spread, bound_metrics = learned_schedule.objective(*of_schedule, data_levels=digits.LEVELS)
        return loss + spread, metrics | bound_metrics | {"network_loss": loss}

    return loss_fn


def ends(schedule: Schedule) -> tuple[float, float]:
    """log-SNR of the first and last entry of a table."""
    table: Any = schedule.table
    return float(table[0].log_snr), float(table[-1].log_snr)


def optimizer(config: Config) -> optax.GradientTransformation:
    """The network's as for any schedule, clipped by its own gradient alone, and Adam at `schedule_rate` for the schedule."""
    rate = optax.warmup_cosine_decay_schedule(0.0, config.schedule_rate, config.warmup, config.train_steps)
    parts = {"network": image_training.optimizer(config), "schedule": optax.adam(rate)}
    return optax.multi_transform(parts, {"network": "network", "schedule": "schedule"})


@records.record
class RetoldSchedule(Schedule):
    """A table's log-SNR between its two ends, told to the network as a learned schedule of the same ends tells it: by log-SNR alone."""

    path: Schedule = records.static()

    @property
    def _clean_t(self) -> float:
        return 0.0

    def _at(self, u: Any) -> Level:
        first = 1 / len(self.path.table)  # type: ignore[arg-type]
        level = self.path.at(first + (1 - first) * u)
        return self._told(level, level.log_snr)

    def _at_log_snr(self, value: Any) -> Level:
        return self._told(self.path.at_log_snr(value), value)

    def _told(self, level: Level, log_snr: Any) -> Level:
        high, low = ends(self.path)
        return records.replace(level, t=1000 * (high - log_snr) / (high - low))
