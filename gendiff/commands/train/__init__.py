"""What does a diffusion model learn from pictures of your own, or from drawings and photographs that pip brings?

    gendiff train PHOTOS    a network on a folder of pictures: figures, no verdict
    python -m experiments run images                  two networks, on emoji and on textures, with verdicts; 35 minutes on 2 idle cores
    gendiff train PHOTOS --model DIR --lora 8    a change of a Stable Diffusion, for text-to-image --lora

The network learns the flow from pictures to noise; samples come from its average. They are judged against pictures that were kept from
training: Fréchet and kernel distance with the floor beside them, precision and recall, near-copies of training pictures, and the denoising
error at each noise level. An untrained network and a Gaussian of the pixels must be far off. Emoji are drawings by OpenMoji, CC BY-SA 4.0.

With --model, a Stable Diffusion 1 or 2 in the folder DIR learns a change of low rank from pictures with captions: of each picture in a text
file beside it, or of all in metadata.jsonl. The denoising error of held-out pictures is measured with it, without it, and, as a control,
with captions of other pictures. The change is a file that diffusers loads too.
"""

from typing import Any

from gendiff.commands.images import image_sampling
from gendiff.commands.train import facts, prepare, train
from gendiff.commands.train.config import MESHES, PRESETS, Config, Thresholds
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_FEW: dict[str, Any] = {"samples": 40, "control_samples": 40, "together": 40, "draws": 3, "draw_size": 30}
_SMALL: dict[str, Any] = {"size": 8, "network": "dit-tiny/2", "level_pictures": 20, "judged": 300, "previews": 4}

ANSWER = Answer(
    roles={
        **dict.fromkeys(("*-untrained-frechet", "*-gaussian-frechet"), "check"),
        **dict.fromkeys(("*-frechet", "*-copies"), "E1"),
    },
    text="colours and textures, no things: {emoji-frechet:.1f} (emoji) and {textures-frechet:.1f} (textures) times "
    "the distance of "
    "real pictures, no copies",
    statements={
        "E1": "Samples are {textures-frechet:.1f interval} times as far from held-out textures as training pictures "
        "are, "
        "those of emoji {emoji-frechet:.1f} times; no copies",
    },
    picture="emoji_samples.png",
)

EXPERIMENT = Experiment(
    name="images",
    typed="train",
    question="What does a diffusion model learn from a folder of pictures, judged without labels?",
    config=Config,
    presets=PRESETS,
    meshes=MESHES,
    smoke=Config(**_FEW, **_SMALL, steps=4, batch=8, sampling_steps=3),
    train=train.train_config,
    evaluate=train.evaluate_config,
    check=train.check_config,
    plan=train.plan_config,
    prepare=prepare.COMMAND,
    sample=image_sampling.command(facts.model, facts.described),
    processes=True,
    answer=ANSWER,
)
