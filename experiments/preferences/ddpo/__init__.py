"""Can a denoiser be taught what to draw by a reward alone?

    python -m experiments run ddpo

makes a network of digits draw one digit, or more ink, and the committed network of text-to-image draw two red circles, of which it has seen
none in training. The denoising chain is the policy: its steps are actions with Gaussian log-probabilities, and the clipped policy gradient
is the one that language models learn by. Of scenes low-rank changes of the layers that read the text are learned, and the first steps are
actions: a gradient from few samples is lost in the noise of all parameters and all steps. Beside it stand the gradient of the reward itself
(DRaFT), preferences between two samples (DPO), a control that is taught by the rewards of other samples, and best-of-n of the reference. A
judge that took no part in the reward looks at all. It takes about half an hour on 2 cores.

Expect the reward to rise and the diversity to fall. At equal KL best-of-n is nearly the best that any policy can be, so a policy that
gains more at the same KL is not to be expected: what it saves is drawing n samples for one.
"""

from typing import Any

from experiments.preferences.ddpo import judge, train
from experiments.preferences.ddpo.config import Config, Policy, Thresholds, check
from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Learning
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Policy", "Thresholds"]

_FEW: dict[str, Any] = {"updates": 2, "parts": 1, "steps": 2, "acting": 1, "samples": 8, "reference": 40, "together": 40}
_TINY: dict[str, Any] = {"shuffled_updates": 2, "draft_updates": 2, "dpo_updates": 2, "last": 1, "scene_crops": 60, "resamples": 20}

EXPERIMENT = Experiment(
    name="ddpo",
    question="Can a denoiser be taught what to draw by a reward alone, and what does that cost beside best-of-n?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        base=Learning(**image_training.SMOKE, drop_condition=0.0),
        digits=Policy(**_FEW, batch=8),
        scenes=Policy(**_FEW, batch=4),
        prompts=2,
        networks=False,
        **_TINY,
    ),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
)
