"""What does a diffusion model learn from pictures of your own, or from drawings and photographs that pip brings?

    gendiff train PHOTOS                         a network on a folder of pictures: figures, no verdict
    gendiff train PHOTOS --model DIR --lora 8    a LoRA of Stable Diffusion or FLUX, for text-to-image --lora
    python -m experiments run images             emoji by their kinds, with verdicts; 45 minutes on 2 idle cores

The network learns the flow from pictures to noise; samples come from its average. They are judged against pictures that
were kept from training: Fréchet and kernel distance with the floor beside them, precision and recall, near-copies of
training pictures, and the denoising error at each noise level. An untrained network, a Gaussian of the pixels, samples
in one step and the mean picture must be farther off.

Emoji are drawings by OpenMoji, CC BY-SA 4.0. Their classes are kinds of things, the first words of Unicode's subgroups,
with 50 drawings or more. Samples are drawn for each class at guidance 2, and a classifier's features say whose drawings
they are nearest to. That must be the class that was asked for, more often than another class, than samples of an
untrained network, and than half of the time. `--preset textures` does the same with patches of photographs.

With --model, a Stable Diffusion 1, 2 or 3, a FLUX or a Z-Image in the folder DIR learns a change of low rank from
pictures with captions: of each picture in a text file beside it, or of all in metadata.jsonl. The denoising error of
held-out pictures is measured with it, without it, and, as a control, with captions of other pictures. The change is a
file that diffusers loads too.
"""

import dataclasses
import itertools

from gendiff.commands.drawing_options import SAMPLERS
from gendiff.commands.images import feature_options, sampling_options
from gendiff.commands.images.sampling_options import SampleOptions
from gendiff.commands.train import data_paths, named_networks, prepare
from gendiff.commands.train.config import (
    GAUSSIAN,
    MEAN,
    MESHES,
    ONE_STEP,
    OTHERS,
    OWN,
    PRESETS,
    REAL,
    SETS,
    UNTRAINED,
    Config,
)
from gendiff.commands.train.fine_tuning import options
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges, run_folder
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Late, Outcome
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.verdicts import Relation
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements, Study, claim, control

__all__ = ["EXPERIMENT", "Config"]

ANSWER = Answer(
    text="{emoji-named:.0%} of the drawings are nearest to the kind of thing that was asked for, of real ones "
    "{emoji-real:.0%}; they are {emoji-frechet:.1f} times as far from held-out drawings as training drawings are",
    statements={
        "E1": "{emoji-named:.0% interval} of the samples are nearest to the class that was asked for, and they are "
        "{emoji-frechet:.1f} times as far from held-out drawings as training drawings are",
    },
    picture="samples.png",
    before=(
        Change(
            "2026-11-30",
            "8d91d73",
            "Claims are rows; numbers unchanged. Controls are compared with the samples. One step and the mean "
            "picture are controls too.",
            "A control is compared with its treatment.",
        ),
        Change(
            "2026-12-01",
            "ff6fe96a",
            "One seed, all drawings without classes, AdamW, 2500 steps: 2.56 times the floor in random features, and "
            "blobs to the eye. Now kinds of things with 50 drawings or more, guidance 2, flips, Muon, 2800 steps, and "
            "features of a classifier. Textures, then 2.47 times the floor, are a preset of their own.",
            "Features without training take a blur for a drawing, and nobody asked whether a sample shows a thing.",
        ),
    ),
)


def check(config: Config) -> None:
    """ConfigError or DataError before anything is computed; what needs no JAX is checked first."""
    if config.of_model:
        options.check(config)
        return
    ranges.known("network", [config.network], named_networks.NAMES)
    ranges.known("sampler", [config.sampler], SAMPLERS)
    if config.optimizer != "muon" and config.muon_learning_rate != Config.muon_learning_rate:
        raise ConfigError("--muon-learning-rate is for --optimizer muon: leave it out, or take that optimizer")
    feature_options.check(config)
    data_paths.check(config)
    if config.cache is not None:
        run_folder.writable("cache", config.cache)
    from gendiff.commands.train import plan  # loads JAX

    plan.check(config)


def sample(config: Config, folder: RunFolder, options: SampleOptions, progress: Progress) -> None:
    """Draws from the network of a run."""
    from gendiff.commands.images import image_sampling  # loads JAX
    from gendiff.commands.train import facts

    image_sampling.sample(facts.model, facts.described, config, folder, options, progress)


_SMALL = Config(size=8, network="dit-tiny/2", steps=4, batch=8, previews=4, judged=300, level_pictures=20)
_NAMED = "share that is nearest to the class that was asked for"
_DISTANCE = "Fréchet distance to held-out pictures, in floors"
_COPIES = "held-out pictures copy nothing, and have such a rate too"
_CONTROLS: tuple[tuple[str, Relation, str, dict[str, str]], ...] = (
    (
        "frechet",
        ">=",
        _DISTANCE,
        {UNTRAINED: "untrained", GAUSSIAN: "gaussian", ONE_STEP: "one-step", MEAN: "mean-picture"},
    ),
    ("named", "<=", _NAMED, {UNTRAINED: "untrained", OTHERS: "others"}),
)
"""A measure, what it must be of its controls, words for it, and a word of each control for ids."""

STUDY = Study(
    name="images",
    config=Config,
    presets=PRESETS,
    smoke=dataclasses.replace(
        _SMALL, samples=40, control_samples=40, together=40, draws=3, draw_size=30, sampling_steps=3
    ),
    train=Late("gendiff.commands.train.train", "train_config"),
    measure=Late("gendiff.commands.train.judge", "measure"),
    words={"frechet": _DISTANCE, "excess": "near-copies above held-out pictures' own rate", "named": _NAMED},
    claims=(
        claim(
            "emoji", "frechet", "<=", 5.0, role="E1", reason="few drawings, each with sharp edges", id="emoji-frechet"
        ),
        claim("textures", "frechet", "<=", 2.5, role="E1", reason="training pictures have 1", id="textures-frechet"),
        *(claim(name, "excess", "<=", 0.01, role="E1", reason=_COPIES, id=f"{name}-copies") for name in SETS),
        *(
            claim(name, "named", ">=", 0.5, role="E1", reason=reason, id=f"{name}-named")
            for name, reason in (
                ("emoji", "held-out drawings that are blurred by 2 of their 32 pixels have 0.45"),
                ("textures", "most show what was asked for"),
            )
        ),
        *(
            claim(
                f"{name}: {REAL}",
                "named",
                ">=",
                0.6,
                role="check",
                reason="who cannot name real pictures cannot judge drawn ones",
                id=f"{name}-real",
            )
            for name in SETS
        ),
    ),
    controls=tuple(
        control(
            *(f"{name}: {treatment}", measure),
            against=name,
            by=by,
            statement=f"{name}: {treatment}, less the samples: {words}",
            id=f"{name}-{id}-{measure}",
        )
        for name in SETS
        for measure, by, words, treatments in _CONTROLS
        for treatment, id in treatments.items()
    ),
    answer=ANSWER,
    more={"typed": "train", "begins": OWN, "meshes": MESHES, "prepare": prepare.COMMAND, "processes": True}
    | {
        "check": check,
        "plan": Late("gendiff.commands.train.train", "plan_config"),
        "sample": sampling_options.command(sample),
    },
)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Figures and tables; claims of the committed sets alone."""
    from gendiff.commands.train import facts, judge  # load JAX
    from gendiff.commands.train.fine_tuning import judge as fine_tuning

    if config.of_model:
        return fine_tuning.evaluate(config, folder, progress)
    measured = Measurements(judge.measure(config, folder, progress))
    figures, tables = (
        tuple(itertools.chain.from_iterable(row.arrays.get(kind, ()) for row in measured))
        for kind in ("figures", "tables")
    )
    return Outcome(tuple(STUDY.judge(measured)), figures, tables, chosen=facts.chosen(config, folder))


EXPERIMENT = dataclasses.replace(STUDY.experiment(), evaluate=evaluate)
