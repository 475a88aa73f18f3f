"""The numbers of the guidance experiment."""

import dataclasses
from typing import Annotated, TypeAlias

import msgspec

from gendiff.commands.images.image_training import Learning
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, NonNegative, Seed, Several, Share, Some

Digits: TypeAlias = Annotated[int, msgspec.Meta(ge=40, le=ranges.LARGEST)]
"""Samples of digits, at least four of each class."""
FAITHFUL_TO = {"digits": 2.0, "shapes": 3.0}
"""Largest scale at which a subject is claimed to become more faithful."""
STRONG, MODERATE = 7.5, 2.0
"""The essay's scale, at which cures are compared too, and that of plain guidance whose adherence cures are brought
to.
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of training; each trains a network on digits, one on shapes, and a weaker one for autoguidance."""
    digits: Learning = Learning()
    """Of the networks on digits."""
    shapes: Learning = Learning(train_steps=1600, channels=(32, 64), optimizer="muon", ema=0.995)
    """Of the networks on shapes of 16×16 pixels."""
    weaker: Learning = Learning(train_steps=400, channels=(8, 16))
    """Of the weaker networks on digits that autoguidance leads away from."""
    scenes: Annotated[int, msgspec.Meta(ge=400, le=2**20)] = 8192
    """Training images of shapes, enough for some of each class."""
    reference: Annotated[int, msgspec.Meta(ge=200, le=2**20)] = 1280
    """Held-out images of shapes, for recall, enough for some of each class."""
    scales: Some[NonNegative] = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 12.0)
    """Guidance scales w: 0 is unconditional, 1 conditional."""
    cures: Distinct[str] = ("interval", "rescale", "CFG++", "APG", "autoguidance", "thresholding")
    """Rules that are compared with plain guidance; interval and rescale among them, since claims are made of these."""
    cure_scales: Some[Annotated[float, msgspec.Meta(gt=1)]] = (2.0, 4.0, 7.5)
    """Scales of each cure, ascending and above 1, where all but CFG++ and thresholding do nothing."""
    renoised_scales: Some[Annotated[float, msgspec.Meta(gt=0, le=1)]] = (0.25, 0.5, 1.0)
    """Scales of CFG++, ascending within (0, 1]."""
    dropouts: Distinct[Share] = (0.0, 0.1, 0.2, 0.5)
    """Shares of labels dropped in training, each with one network on digits; without any, nothing has trained the null
    label.
    """
    sampling_steps: Count = 30
    """DDIM steps."""
    samples: Digits = 1000
    """Digits at each scale, class-balanced."""
    shape_samples: Annotated[int, msgspec.Meta(ge=128, le=ranges.LARGEST)] = 320
    """Shapes at each scale, class-balanced: ten a class."""
    cure_samples: Digits = 500
    """Digits of each cure at each scale, held against as many of plain guidance."""
    control_samples: Digits = 500
    """Digits at each scale of the network whose label is withheld."""
    together: Count = 250
    """Digits drawn in one call."""
    shapes_together: Count = 160
    """Shapes drawn in one call."""
    shown: Count = 10
    """Samples of each scale in the pictures."""
    explored: Count = 32
    """Samples in each picture under the sliders."""
    explored_steps: Distinct[Count] = (5, 10, 30)
    """DDIM steps that the slider chooses among; at most `sampling_steps`."""
    resamples: Several = 1000
    """Bootstrap resamples behind each interval."""
    permutations: Count = 20000
    """Random orders behind each p-value."""

    def faithful_scales(self, subject: str) -> list[float]:
        """Those at which the subject is claimed to become more faithful."""
        return [scale for scale in self.scales if scale <= FAITHFUL_TO[subject]]
