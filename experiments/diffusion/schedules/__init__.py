"""Which noise schedule learns digits best at equal budget: linear, cosine, sigmoid or learned?

    python -m experiments run schedules

trains the class-conditional U-Net with each schedule from the same seeds, by the same number of steps and the same loss (uniform weight
on the velocity's squared error, u spread evenly over each schedule's own [0, 1]), and samples each with as many DDIM steps. The learned
schedule (Kingma et al., 2021) has the ends of the linear one; its own objective costs `schedule_batch` further evaluations a step, which
move the schedule and not the network. Measured on held-out digits: an upper bound on bits per dimension, with prior and decoder terms
over the 17 values of a pixel, from a log-SNR that all share, and the Fréchet distance of samples.

24 minutes on 2 cores beside another run. Figures to expect, bits and Fréchet distances in floors: cosine 2.00 and 1.45, sigmoid 2.08 and
1.44, linear 2.12 and 1.75, learned 2.00 and 2.5.
"""

import dataclasses
import functools

from experiments.diffusion import image_training
from experiments.diffusion.image_model import Model
from experiments.diffusion.schedules import judge, learned
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from gendiff.data import digits
from gendiff.diffusion import learned_schedule, parameterization, schedules
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run. Fréchet distances are in floors, training digits against held-out ones; bits are per dimension."""

    cosine_frechet: float = 0.0
    """Largest difference of Fréchet distances, cosine's less linear's."""
    cosine_bits: float = 0.05
    """Largest difference of bits, cosine's less linear's."""
    variance_linear: float = 1.0
    """Largest variance of a draw of the bound on the learned schedule, in multiples of that on linear's path between the same ends."""
    variance_start: float = 0.8
    """Largest variance of a draw of the bound on the learned schedule, in multiples of that on the schedule as it was before training."""
    learned_bits: float = 0.05
    """Largest difference of bits, learned's less the least of the three fixed schedules."""
    untrained_bits: float = 1.0
    """An untrained network must need at least so many bits more than the worst trained one of its seed."""
    untrained_frechet: float = 10.0
    """An untrained network must stay above this Fréchet distance."""
    same_bits: float = 0.05
    """Largest difference of bits between linear's trainings from two seeds: the measure must resolve the margin of the claims."""
    same_frechet: float = 0.25
    """Largest difference of Fréchet distances between linear's trainings from two seeds."""
    loud_frechet: float = 1.5
    """A schedule that keeps a third of the signal's power at its end must stay above this multiple of cosine's Fréchet distance."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.Learning):
    """Every number of the experiment, those of `Learning` among them."""

    names: tuple[str, ...] = ("linear", "cosine", "sigmoid")
    """Fixed schedules, linear and cosine among them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training, the same for every schedule; the difference between two seeds needs two of them."""
    loud_seeds: int = 1
    """How many of the seeds, from the first, the deliberately bad schedule is trained with."""
    levels: int = 1000
    """Entries of the fixed schedules' tables."""
    schedule_rate: float = 3e-2
    """Peak learning rate of Adam on the learned schedule's numbers, warmed up and falling alike."""
    schedule_batch: int = 32
    """Images of each batch that the learned schedule's own objective is drawn on."""
    hidden: int = 32
    """Sigmoids of the learned schedule."""
    sampling_steps: int = 50
    """DDIM steps, with trailing spacing on each schedule's own levels."""
    samples: int = 3000
    """Samples of each network, class-balanced."""
    control_samples: int = 2000
    """Samples of an untrained network, class-balanced."""
    together: int = 500
    """Samples drawn in one call."""
    draws: int = 20
    """Draws behind each Fréchet distance, precision and recall."""
    draw_size: int = 1000
    """Samples in a draw."""
    bound_draws: int = 32
    """Levels, one in each of so many equal parts of u, at which the bound of each held-out digit is drawn."""
    cleanest: float = 7.0
    """log-SNR at which every bound ends near the clean digits; sigma / alpha is then half of half a step between pixel values."""
    checkpoint_every: int = 600
    """Steps between checkpoints."""
    thresholds: Thresholds = Thresholds()


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
    return image_training.model(config, fixed(config)["linear"], parameterization.velocity())


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network a schedule and seed, each schedule in a folder of its own."""
    split = digits.load()
    data = Batch(clean=split.train_images, condition=(split.train_labels,))
    made = model(config)
    learn = functools.partial(image_training.learn, config)
    optimizer = image_training.optimizer(config)
    for name, schedule in fixed(config).items():
        loss = image_training.loss(config, dataclasses.replace(made, schedule=schedule))
        inside = image_training.inside(folder, name)  # each schedule compiles its step
        for seed in config.seeds[: config.loud_seeds] if name == "loud" else config.seeds:
            learn(loss, optimizer, made.init, data, inside, progress, seed=seed, steps=config.train_steps)
    joint = learned.JointLoss(made.predict, made.parameterization, config.drop_condition, config.schedule_batch, digits.LEVELS)
    optimizer, init = learned.optimizer(config), learned.init(made, start(config))
    inside = image_training.inside(folder, "learned")
    for seed in config.seeds:
        learn(joint, optimizer, init, data, inside, progress, seed=seed, steps=config.train_steps)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Measures every network of the folder and holds the schedules against each other."""
    return judge.evaluate(config, model(config), fixed(config), start(config), folder, progress)


EXPERIMENT = Experiment(
    name="schedules",
    question="Which noise schedule learns digits best at equal budget: linear, cosine, sigmoid or learned?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        names=("linear", "cosine"),
        loud_seeds=0,
        seeds=(0, 1),
        train_steps=4,
        warmup=1,
        batch=16,
        schedule_batch=8,
        hidden=4,
        channels=(8,),
        sampling_steps=4,
        samples=40,
        control_samples=40,
        together=40,
        draws=3,
        draw_size=30,
        bound_draws=2,
    ),
    train=train,
    evaluate=evaluate,
)
