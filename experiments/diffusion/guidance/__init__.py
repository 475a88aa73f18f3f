"""Is stronger guidance more faithful, less diverse and oversaturated, and which cure keeps what it loses?

    python -m experiments run guidance

trains small class-conditional networks on digits and on rendered shapes, three seeds each, and draws the same samples, that is the same
labels and the same x_T, at eight scales of classifier-free guidance. The essay's "w = 7.5: more faithful, less diverse, oversaturated" is
read as trends: Spearman's coefficient between the scale and each measure.

Faithfulness is what a judge says of digits and what an oracle reads exactly from the pixels of shapes. On digits it is at its ceiling at
small scales already, so there its trend is only claimed up to 2; on shapes up to 3. Diversity is the share of held-out images that the
samples of their class reach (recall) and the Vendi score within each class; saturation the share of values beyond the data's range, and
the contrast. Images are judged as they left the sampler, clipped for all but saturation. The figures to expect are in
experiments/results/guidance/README.md.
"""

from typing import Any

from experiments.diffusion.guidance import judge, networks, sets
from experiments.diffusion.guidance.config import Config, Thresholds
from gendiff.commands.images import image_sampling
from gendiff.commands.images.image_training import Learning
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_SMOKE = Learning(train_steps=2, batch=16, channels=(8,), warmup=1)
_LEARNED: dict[str, Any] = {"seeds": (0,), "digits": _SMOKE, "shapes": _SMOKE, "weaker": _SMOKE, "dropouts": (0.0, 0.1), "scenes": 400}
_SAMPLES: dict[str, Any] = {"samples": 50, "shape_samples": 128, "cure_samples": 50, "control_samples": 50, "shown": 5, "explored": 128}
# 128 explored samples come from the programs that draw the others: parts of 50 digits, and 128 shapes
_SIZES: dict[str, Any] = {"reference": 200, "together": 50, "shapes_together": 128, "resamples": 20, "permutations": 100}
_STEPS: dict[str, Any] = {"scales": (0.0, 1.0, 2.0, 7.5), "sampling_steps": 2, "explored_steps": (1, 2)}
_CURES: dict[str, Any] = {"cures": ("interval", "rescale", "CFG++"), "cure_scales": (2.0, 7.5), "renoised_scales": (0.5, 1.0)}

_DROPPED = "digits: share of labels dropped"

ANSWER = Answer(
    roles={
        **dict.fromkeys(("interval-recall", "rescale-clipped", "*-deaf-*", "*-shuffled-*"), "check"),
        **dict.fromkeys(("*-adherence", "*-recall", "*-vendi", "*-clipped", "*-contrast", "trends-significant"), "E7"),
    },
    text="in part: recall falls with the scale on digits (rank correlation {digits-recall:.2f}), not on shapes "
    "({shapes-recall:.2f}); an interval keeps {interval-recall:.2f} more",
    statements={
        "E6": "Digits at scale 2: a network trained with 10 % of labels dropped clips {clipped:.1% interval} of "
        "values, "
        "one with none dropped {undropped:.0%}; both show the label",
        "E7": "Recall falls as the scale grows on digits (Spearman's rho {digits-recall:.2f interval}), not on shapes "
        "({shapes-recall:.2f}); more values clip on both",
    },
    numbers={
        "clipped": Cell(_DROPPED, ("0.1", 2.0), "clipped fraction"),
        "undropped": Cell(_DROPPED, ("0", 2.0), "clipped fraction"),
    },
    picture="pictures_digits.png",
)

EXPERIMENT = Experiment(
    name="guidance",
    question="Is stronger guidance more faithful, less diverse and oversaturated, and which cure keeps what it loses?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(**_LEARNED, **_SAMPLES, **_SIZES, **_STEPS, **_CURES),
    train=networks.train,
    evaluate=judge.evaluate,
    sample=image_sampling.command(networks.model),
    check=sets.check,
    answer=ANSWER,
)
