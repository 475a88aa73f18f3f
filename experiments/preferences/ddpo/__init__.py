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
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Policy", "Thresholds"]

_FEW: dict[str, Any] = {"updates": 2, "parts": 1, "steps": 2, "acting": 1, "samples": 8, "reference": 40, "together": 40}
_TINY: dict[str, Any] = {"shuffled_updates": 2, "draft_updates": 2, "dpo_updates": 2, "last": 1, "scene_crops": 60, "resamples": 20}

_DIGIT = "Policies by their reward: digit"

ANSWER = Answer(
    roles={
        "drawn-*": "E22",
        "direct": "E22",
        "preferred": "E22",
        "matched-*": "aim",
        "ratio-*": "check",
        "optimum-*": "check",
        "agreement-*": "check",
        "untaught": "check",
        "pushed-agreement": "check",
    },
    text="yes for digits: one sample beats the best of 4 untaught by {drawn-digit:.2f} deviations of the reward; not "
    "for scenes ({drawn-scenes:.2f})",
    statements={
        "E22": "A reward teaches pictures too: one sample beats the best of 4 untaught ones by "
        "{drawn-digit:.2f interval} deviations of the reward; not for scenes",
        "E42": "Choosing the best of 16 pictures gains {best:.2f} deviations of the reward; a taught policy gains up "
        "to {policy:.2f} with one picture",
    },
    numbers={"best": Cell(_DIGIT, ("best of 16",), "gain"), "policy": Cell(_DIGIT, ("ddpo, seed 2",), "gain")},
    picture="samples_digits.png",
    before=(
        Change(
            "2026-11-27",
            "83e8fca",
            "Of scenes, a rollout is one optimizer step in place of two.",
            "XLA's loops slow gradients of convolutions, so steps are unrolled.",
        ),
        Change(
            "2026-11-27",
            "b1a3dfb",
            "Policies of scenes change the layers that read the text at rank 2, by the first 3 steps alone; 80 "
            "updates of 128 in place of 40 of 32.",
            "Adam on all parameters moved 38 nats in one step; the last steps have the largest gradients and tell "
            "nothing of what is shown.",
        ),
        Change(
            "2026-11-27",
            "b1a3dfb",
            "Policies of digits have 120 updates in place of 80, the control 60 in place of 40.",
            "No reason is recorded.",
        ),
        Change(
            "2026-11-27",
            "b1a3dfb",
            "A ratio on the first pass is summed over differences of coordinates.",
            "The difference of two log-densities of 3,072 coordinates is wrong by 5e-4 in float32.",
        ),
    ),
)

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
    answer=ANSWER,
)
