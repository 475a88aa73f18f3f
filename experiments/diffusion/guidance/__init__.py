"""Is stronger guidance more faithful, less diverse and oversaturated, and which cure keeps what it loses?

    python -m experiments run guidance

trains small class-conditional networks on digits and on rendered shapes, three seeds each, and draws the same samples, that is the same
labels and the same x_T, at eight scales of classifier-free guidance. The essay's "w = 7.5: more faithful, less diverse, oversaturated" is
read as trends: Spearman's coefficient between the scale and each measure.

Faithfulness is what a judge says of digits and what an oracle reads exactly from the pixels of shapes. On digits it is at its ceiling at
small scales already, so there its trend is only claimed up to 2; on shapes up to 3. Diversity is the share of held-out images that the
samples of their class reach (recall) and the Vendi score within each class; saturation the share of values beyond the data's range, and
the contrast. Images are judged as they left the sampler, clipped for all but saturation.
"""

import dataclasses

from experiments.diffusion import image_sampling
from experiments.diffusion.guidance import draw, judge, networks
from experiments.diffusion.image_model import Model
from experiments.diffusion.image_training import Learning
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run; rho is Spearman's coefficient with the guidance scale, a mean over the seeds."""

    faithful: float = 0.8
    """Least rho of adherence, up to `digits_faithful_to` and `shapes_faithful_to`."""
    less_diverse: float = -0.8
    """Largest rho of recall and of the Vendi score, each within class."""
    oversaturated: float = 0.8
    """Least rho of the clipped fraction and of the contrast."""
    significance: float = 0.05
    """Largest p-value of these trends, after Holm's correction for all of them."""
    interval_recall: float = 0.0
    """Least recall of guidance on an interval less that of plain guidance, at equal adherence."""
    rescale_clipped: float = 0.0
    """Largest clipped fraction of rescaled guidance less that of plain guidance, at the same scale."""
    chance: float = 0.2
    """A network that ignores its label must stay below this adherence, a share; chance is 1/10 on digits and 1/32 on shapes."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training; each trains a network on digits, one on shapes, and a weaker one for autoguidance."""
    digits: Learning = Learning()
    """Of the networks on digits."""
    shapes: Learning = Learning(train_steps=1300, channels=(32, 64))
    """Of the networks on shapes of 16×16 pixels."""
    weaker: Learning = Learning(train_steps=400, channels=(8, 16))
    """Of the weaker networks on digits that autoguidance leads away from."""
    scenes: int = 8192
    """Training images of shapes."""
    reference: int = 1280
    """Held-out images of shapes, for recall."""
    scales: tuple[float, ...] = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 12.0)
    """Guidance scales w: 0 is unconditional, 1 conditional."""
    digits_faithful_to: float = 2.0
    """Largest scale at which digits still can become more faithful."""
    shapes_faithful_to: float = 3.0
    """Largest scale at which shapes are claimed to become more faithful."""
    strong: float = 7.5
    """The essay's scale, at which cures are compared too; one of `scales` and of `cure_scales`."""
    moderate: float = 2.0
    """Scale of plain guidance whose adherence cures are brought to, one of `scales`."""
    cures: tuple[str, ...] = tuple(draw.CURES)
    """Rules that are compared with plain guidance; interval and rescale among them, since claims are made of these."""
    cure_scales: tuple[float, ...] = (2.0, 4.0, 7.5)
    """Scales of each cure, ascending and above 1, where all but CFG++ and thresholding do nothing."""
    renoised_scales: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Scales of CFG++, ascending within (0, 1]."""
    dropouts: tuple[float, ...] = (0.0, 0.1, 0.2, 0.5)
    """Shares of labels dropped in training, each with one network on digits; without any, nothing has trained the null label."""
    sampling_steps: int = 30
    """DDIM steps."""
    samples: int = 1000
    """Digits at each scale, class-balanced."""
    shape_samples: int = 320
    """Shapes at each scale, class-balanced: ten a class."""
    cure_samples: int = 500
    """Digits of each cure at each scale, held against as many of plain guidance."""
    control_samples: int = 500
    """Digits at each scale of the network whose label is withheld."""
    together: int = 250
    """Digits drawn in one call."""
    shapes_together: int = 160
    """Shapes drawn in one call."""
    shown: int = 10
    """Samples of each scale in the pictures."""
    explored: int = 32
    """Samples in each picture under the sliders."""
    explored_steps: tuple[int, ...] = (5, 10, 30)
    """DDIM steps that the slider chooses among; at most `sampling_steps`."""
    resamples: int = 1000
    """Bootstrap resamples behind each interval."""
    permutations: int = 20000
    """Random orders behind each p-value."""
    thresholds: Thresholds = Thresholds()


def model(config: Config) -> Model:
    """The network on digits."""
    return networks.model(config.digits, "digits")


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every network."""
    networks.train(config, folder, progress)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Draws every set and judges it."""
    return judge.evaluate(config, folder, progress)


_SMOKE = Learning(train_steps=2, batch=16, channels=(8,), warmup=1)

EXPERIMENT = Experiment(
    name="guidance",
    question="Is stronger guidance more faithful, less diverse and oversaturated, and which cure keeps what it loses?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        digits=_SMOKE,
        shapes=_SMOKE,
        weaker=_SMOKE,
        scenes=400,
        reference=200,
        scales=(0.0, 1.0, 2.0, 7.5),
        cures=("interval", "rescale", "CFG++"),
        cure_scales=(2.0, 7.5),
        renoised_scales=(0.5, 1.0),
        dropouts=(0.0, 0.1),
        sampling_steps=2,
        samples=50,
        shape_samples=128,
        cure_samples=50,
        control_samples=50,
        together=50,
        shapes_together=128,
        shown=5,
        explored=4,
        explored_steps=(1, 2),
        resamples=20,
        permutations=100,
    ),
    train=train,
    evaluate=evaluate,
    sample=image_sampling.command(model),
)
