"""The configuration of every study: thresholds are shared, and its numbers are checked before anything is made or
computed.
"""

import dataclasses
import functools
import math
import typing
from typing import Literal

import pytest

from experiments import catalogue
from gendiff.commands import command_line
from gendiff.core.errors import ConfigError
from gendiff.runs import registry

HOSTILE = {int: (0, -1, 10**30), float: (0.0, -1.0, math.nan, math.inf, -math.inf), str: ("", "nonsense")}
_ZERO_NUMBERS = (
    "keywords recoloured warmup weight_decay waves ema drop_condition shuffled_steps loud_seeds pigdm_eta failed "
    "cleanest kills shortest digit cut extra ema_snapshots"
)
_ZERO_EVENTS = "least_per_class preemptions deaths keywords warm_up final lam fall low stop"
_ZERO_WEIGHTS = "alignment scene_weight kl_weight perceptual_weight gradient_weight slopes_weight anchor least"
_ZERO_AMONG = "seeds scenes_seeds scales dropouts strengths guidance etas"
EXAMPLES = {int | None: 1, float | None: 0.5, Literal["RGB", "L"] | None: "RGB"}
ALLOWED = {
    "0": {*_ZERO_NUMBERS.split(), *_ZERO_EVENTS.split(), *_ZERO_WEIGHTS.split(), *_ZERO_AMONG.split()},
    "-1": {"cleanest", "stop"},
    "": {"samplers", "seeds", "cases", "against", "styles_folder", "instruments_folder"},
    "repeated": {"channels"},
    "nonsense": {"data", "styles_folder", "instruments_folder"},
}
"""Fields whose range holds the value. A threshold may be any finite number, unless its field says more."""


def fields(config, within=""):
    """(path, value) of every number and text."""
    types = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is None:  # a rule gives it; a number or a word may take its place
            value = EXAMPLES.get(types[field.name])
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{within}{field.name}.")
        elif value is not None and not isinstance(value, bool):
            yield within + field.name, value


def replaced(config, path, value):
    first, _, rest = path.partition(".")
    return dataclasses.replace(config, **{first: replaced(getattr(config, first), rest, value) if rest else value})


def hostile(path, value):
    """(what it is, the value) of all that is put in the place of a value."""
    kind = int if path == "seeds" else str if value == () else type(value[0] if isinstance(value, tuple) else value)
    singles = [(f"{bad:g}" if isinstance(bad, int | float) else bad, bad) for bad in HOSTILE[kind]]
    if not isinstance(value, tuple):
        return singles
    repeated = [("repeated", (*value, value[-1]))] if value else []
    return [("", ()), *repeated, *((name, (*value[1:], bad)) for name, bad in singles)]


def harmless(path, what):
    """Whether the range of the field holds the value."""
    limit = path.startswith("thresholds.") and what in ("0", "-1")
    return limit or path.rsplit(".", 1)[-1] in ALLOWED.get(what, ())


@functools.cache
def studies():
    return {name: registry.load(name, catalogue.EXPERIMENTS) for name in catalogue.EXPERIMENTS}


def test_list_shows_what_each_experiment_has():
    for name, entry in catalogue.EXPERIMENTS.items():
        experiment = studies()[name]
        assert ("full", *entry.presets) == tuple(experiment.presets), name
        assert entry.prepare == (experiment.prepare is not None), name
        assert entry.typed == (experiment.typed or ("" if experiment.runs else name)), name
        assert experiment.question.endswith("?") and not (experiment.runs and experiment.command), name


def not_refused(experiment, config, *words):
    """What is wrong with the refusal of a configuration, whose message has one of the words; None where it is as it
    should be.
    """
    try:
        registry.check(experiment, config)
    except ConfigError as error:
        named = any(word in str(error) for word in words)
        return (
            None
            if named and len(str(error).splitlines()) < command_line.MOST_LINES
            else f"the message is {str(error)!r}"
        )
    return "it is not refused"


def test_every_preset_passes_and_has_the_thresholds_of_the_others():
    for name, experiment in studies().items():
        configs = (*experiment.presets.values(), experiment.smoke)
        thresholds = {config.thresholds for config in configs if hasattr(config, "thresholds")}
        assert not thresholds or (len(thresholds) == 1 and thresholds == {type(*thresholds)()}), name
        for config in configs:
            registry.check(experiment, config)


@pytest.mark.fault("command line: a number out of its range")
def test_every_field_refuses_what_is_out_of_its_range_and_names_it():
    problems = []
    for name, experiment in studies().items():
        config = experiment.presets["full"]
        for path, value in fields(config):
            for what, bad in hostile(path, value):
                if not harmless(path, what):
                    problem = not_refused(
                        experiment, replaced(config, path, bad), path.replace("_", "-"), "seed", "case"
                    )
                    problems += [f"{name}: {path} = {bad!r}: {problem}"] if problem else []
    assert not problems, "\n".join(problems)


MISFITS = [
    ("digits", {"warmup": 1600}, "--warmup 1600 must be below --train-steps 1600"),
    ("digits", {"batch": 1348}, "--batch 1348 is outside 1 … 1347"),
    ("digits", {"samples": 25}, "--samples 25: it must be a whole number from 20 to 2147483647 and a multiple of 10"),
    ("digits", {"channels": (32, 33)}, "--channels 32 33"),
    ("digits", {"channels": (8,) * 5}, "it must be 1 to 4 values"),
    ("digits", {"draw_size": 1348}, "--draw-size 1348"),
    ("audio", {"draw_size": 2000}, "--draw-size 2000 is above --training 1500"),
    ("audio", {"samples": 2000}, "--samples 2000 is above --training 1500"),
    ("audio", {"training": 1505}, "--training 1505: it must be a whole number from 20 to 3000 and a multiple of 10"),
    ("ddim-steps", {"levels": 999}, "--steps 1000 is above --levels 999"),
    ("ddim-steps", {"budgets": (1001,)}, "--budgets 1001"),
    ("ddim-steps", {"steps": (1000, 20)}, "--steps 50 is none of --steps 1000 20"),
    ("ddim-steps", {"few": ("DDMI",)}, "did you mean 'DDIM'"),
    ("few-step", {"judged": 3}, "--judged"),
    ("few-step", {"equal": 5}, "--equal"),
    ("few-step", {"learn_batch": 48}, "--learn-batch"),
    ("few-step", {"pairs": 32}, "--batch"),
    ("few-step", {"students": ("telepathy",)}, "--students"),
    ("few-step-text", {"judged": 3}, "--judged"),
    ("few-step-text", {"learned": (4,)}, "--learned"),
    ("few-step-text", {"default": 3}, "--default"),
    ("few-step-text", {"coarse": 16}, "--coarse"),
    ("few-step-text", {"coarse": 3}, "--coarse"),
    ("few-step-text", {"distilled": 3}, "--distilled"),
    ("few-step-text", {"steps": (2, 4, 8, 16)}, "add 1 to --steps"),
    ("few-step-text", {"students": ("telepathy",)}, "--students"),
    ("few-step-text", {"student_batch": 5000}, "--student-batch"),
    ("few-step-text", {"reference": 16}, "--reference"),
    ("few-step-text", {"learn_batch": 48}, "--learn-batch"),
    ("few-step-text", {"subset": 300}, "--subset"),
    ("few-step-text", {"networks": ("photographs",)}, "--networks"),
    ("few-step-text", {"emoji.low": 9.0}, "--emoji.low"),
    ("training-recipes", {"early": 300}, "--early 300"),
    ("training-recipes", {"parts": (250, 125, 1000)}, "--parts"),
    ("training-recipes", {"parts": (125, 250)}, "--parts"),
    ("training-recipes", {"control_seeds": (0, 7)}, "--control-seeds 0"),
    ("training-recipes", {"warmup": 130}, "--warmup 130"),
    ("guidance", {"scales": (0.0, 2.0, 1.0)}, "--scales 0.0 2.0 1.0: each number must be above"),
    ("guidance", {"scales": (0.0, 1.0, 2.0)}, "--scales 7.5 is none of --scales 0.0 1.0 2.0"),
    ("guidance", {"cures": ("rescale",)}, "--cures interval is none of"),
    ("guidance", {"explored_steps": (31,)}, "--explored-steps 31 is above --sampling-steps 30"),
    ("guidance", {"cure_samples": 2000}, "--cure-samples 2000 is above --samples 1000"),
    ("guidance", {"shapes.batch": 9999}, "--shapes.batch 9999"),
    ("forward", {"levels": (50, 1)}, "--levels 50 1: each number must be above"),
    ("invariance", {"small": 3}, "--small 3 must divide --samples 16"),
    ("invariance", {"alone": 17}, "--alone 17 is above --samples 16"),
    ("invariance", {"crowd": 8}, "--samples 16 is above --crowd 8"),
    ("certify", {"steps": (8, 16, 33)}, "twice the one before"),
    ("certify", {"control_counts": (64, 65)}, "--control-counts 65 is none of --counts"),
    ("certify", {"samplers": ("hune",)}, "hune"),
    ("autoencoder", {"factors": (8, 4)}, "--factors 8 4: each number must be above"),
    ("autoencoder", {"factor": 2}, "--factor 2 is none of --factors 4 8"),
    ("autoencoder", {"channels": 5}, "--channels 5 is none of --latent-channels 4 16"),
    ("autoencoder", {"pixels.batch": 3001}, "--pixels.batch 3001"),
    (
        "autoencoder",
        {"autoencoders.channels": (8, 8, 8)},
        "a factor of 8 needs 4 of them",
    ),
    (
        "autoencoder",
        {"factor": 8, "latents.channels": (8, 8, 8, 8)},
        "4×4 cannot be halved so often",
    ),
    (
        "text-to-image",
        {"drawings.scales": (1.0, 0.0)},
        "--drawings.scales 1.0 0.0: each number must be above",
    ),
    ("text-to-image", {"drawings.nouns": ("unicorn car",)}, "--drawings.nouns: 'unicorn car' is no name"),
    ("text-to-image", {"drawings.combinations": ("pink cat",)}, "--drawings.combinations: 'pink' is none of the"),
    ("text-to-image", {"drawings.prompts": 385}, "--drawings.prompts 385 is above --drawings.held-out 384"),
    ("text-to-image", {"drawings.candidates": 129}, "--drawings.candidates 129 is above --drawings.prompts"),
    ("latent", {"fractions": (0.5, 0.25, 1.0)}, "--fractions 0.5 0.25 1.0: each number must be above"),
    ("latent", {"fractions": (0.25, 0.5)}, "--fractions 0.25 0.5: the last must be 1"),
    ("latent", {"resolutions": (48, 96)}, "--resolutions 48 96"),
    ("latent", {"samples": 1501}, "--samples 1501 is above --pictures 1500"),
    ("latent", {"draw_size": 241}, "--draw-size 241 is above --samples 240"),
    ("latent", {"pixels.batch": 1501}, "--pixels.batch 1501"),
    (
        "latent",
        {"resolutions": (32,), "pixels.channels": (8, 8, 8, 8)},
        "--pixels.channels 8 8 8 8: 4×4 cannot be halved so often",
    ),
    ("latent", {"autoencoder.channels": (8, 8, 8)}, "a factor of 8 needs 4"),
    ("kv-cache", {"window": 48}, "--window 48 must be below --tokens 48"),
    ("kv-cache", {"lengths": (8,)}, "--lengths 8 must be two or more"),
    ("quantise", {"tokens": 1999}, "--tokens 1999 must hold at least two of --piece 1000"),
    ("moe", {"top_k": 8}, "--top-k 8 must be below --experts 8"),
    ("moe", {"warmup": 1000}, "--warmup 1000 must be below --train-steps 1000"),
    ("membership", {"warmup": 2000}, "--warmup 2000 must be below --train-steps 2000"),
    ("memorise-text", {"copies": (4,)}, "--copies 4 must be two or more"),
    ("memorise-text", {"depths": (2,)}, "--depths 2 must be those of two models"),
    ("memorise-text", {"suffix": 9}, "--prefixes 2 4 8 16 and --suffix 9 are more than --letters 24"),
    ("memorise-text", {"canaries": 13}, "--rows 800 are fewer than the 819 copies"),
    ("memorise-text", {"length": 16}, "--letters 24 is above --length 16"),
    ("memorise-text", {"batch": 801}, "--batch 801 is above --rows 800"),
    ("memorise-text", {"warmup": 300}, "--warmup 300 must be below --train-steps 300"),
    ("serving", {"contexts": (512, 128)}, "--contexts 512 128: each number must be above"),
    ("watermark-text", {"changes": (0.3,)}, "--changes 0.3 must be two or more"),
    ("watermark-text", {"delta": 3.0}, "--delta 3.0 is none of --deltas 1.0 2.0 4.0"),
    ("watermark-text", {"few": 48}, "--few 48 is above --texts 32"),
    ("watermark-text", {"texts": 40}, "--texts 40 must be a multiple of --together 16"),
    ("watermark-text", {"span": 50}, "--span 50 is too long"),
    ("memorise", {"sizes": (1024, 64)}, "--sizes 1024 64: each number must be above"),
    ("memorise", {"copies": (4,)}, "--copies 4 must be two or more"),
    ("memorise", {"halves": (64, 100)}, "--halves 100 is none of --sizes 64 128"),
    ("memorise", {"inside": 100}, "--inside 100 is none of --sizes"),
    ("memorise", {"halves": (512, 1024)}, "two disjoint sets of the last need more than 1347"),
    ("memorise", {"copied": 86}, "--copied 86 of each of --copies are more than --inside 512"),
    ("memorise", {"batch": 65}, "--batch 65 is above --sizes 64"),
    ("memorise", {"first": 10001}, "--first 10001 is above --train-steps 10000"),
    ("memorise", {"warmup": 10000}, "--warmup 10000 must be below --train-steps 10000"),
    (
        "gan-modes",
        {"methods": ("vanilla", "diffusion")},
        "--methods vanilla diffusion: gradient-penalty must be among them",
    ),
    ("gan-modes", {"methods": ("vanilla", "gradient-penalty", "difusion")}, "did you mean 'diffusion'"),
    ("gan-modes", {"targets": ("grid",)}, "--targets grid: ring must be among them"),
    ("gan-modes", {"shares": (0.5, 0.2, 1.0)}, "--shares 0.5 0.2 1.0: each number must be above"),
    ("gan-modes", {"shares": (0.5,)}, "--shares 0.5: the last must be 1"),
    ("gan-modes", {"points.samples": 10001}, "--points.samples 10001 is above"),
    ("gan-stability", {"methods": ("vanilla", "hinge", "diffusion")}, "--methods 'hinge' is unknown"),
    ("gan-stability", {"methods": ("vanilla", "r3gan")}, "diffusion must be among them"),
    ("gan-stability", {"paces": (1.0, 0.5)}, "--paces 1.0 0.5: each number must be above"),
    ("gan-stability", {"shares": (0.5,)}, "--shares 0.5: the last must be 1"),
    ("gan-stability", {"fastest": 128}, "--fastest 128 must be below --slowest 128"),
    ("gan-progressive", {"subjects": ("digits", "emojis")}, "did you mean 'emoji'"),
    ("gan-progressive", {"shares": (0.5,)}, "--shares 0.5: the last must be 1"),
    ("gan-progressive", {"few": 50}, "--few 50 must be below --many 50"),
    ("gan-progressive", {"digits.batch": 1348}, "--digits.batch 1348 is above 1347"),
    ("gan-progressive", {"pictures": 299}, "--emoji.draw-size 300 is above 299"),
    (
        "gan-progressive",
        {"emoji.samples": 200},
        "--emoji.draw-size 300 is above --emoji.samples 200",
    ),
    ("gan-progressive", {"emoji.widest": 4}, "--emoji.widest 4 is below --emoji.width 8"),
    ("emergence", {"widths": (8, 16, 12)}, "--widths 8 16 12: each number must be above"),
    ("emergence", {"widths": (8,)}, "--widths 8 must be two or more"),
    ("emergence", {"warmup": 400}, "--warmup 400 must be below --train-steps 400"),
    ("emergence", {"digits": 1}, "--judged 2000 is above 27, half of the pairs of --digits 1"),
    ("scaling-fit", {"budgets": (1e19, 1e18, 1e20)}, "--budgets 1e+19 1e+18 1e+20: each number must be above"),
    ("scaling-fit", {"budgets": (1e18, 1e20)}, "--budgets 1e+18 1e+20 must be three or more"),
    ("rlhf", {"betas": (0.2, 0.5)}, "--betas 0.2 0.5: each number must be below the one before"),
    ("rlhf", {"beta": 0.3}, "--beta 0.3 is none of --betas 1.0 0.5 0.2"),
    ("rlhf", {"small_beta": 0.2}, "--small-beta 0.2 must be below the last of --betas"),
    ("rlhf", {"group": 48}, "--group 48 must divide the 128 answers per prompt"),
    ("rlhf", {"minibatches": 3}, "--minibatches 3 must divide --rollouts 512"),
    ("rlhf", {"width": 36}, "--heads 4 must divide --width 36 into even parts"),
    ("rlhf", {"warmup": 400}, "--warmup 400 must be below --sft-steps 400"),
    ("rlhf", {"reward_batch": 4001}, "--reward-batch 4001 is above --rankings 4000"),
    ("growth", {"steps": (20, 10)}, "--steps 20 10: each number must be above"),
    ("growth", {"sides": (16, 18)}, "--sides 16 18: 18 is no multiple of 4"),
    ("growth", {"devices": (1, 3)}, "--shared 64 is no multiple of the 3 devices"),
    ("percolation", {"sides": (400, 100)}, "--sides 400 100: each number must be above"),
    ("percolation", {"few": 25600}, "--few 25600 must be below --many 25600"),
    ("percolation", {"sides": (3, 400)}, "--sides 3 is below 4"),
    ("percolation", {"block": 30}, "--block 30 must divide --side 400"),
    ("percolation", {"block": 5}, "--block 5 is too small"),
    ("scaling-train", {"checked": (4, 1)}, "--checked 4 1: two rising numbers from 0 to 6 are needed"),
    ("scaling-train", {"text.depths": (1, 2)}, "--text.depths 1 2 must be as many"),
    ("scaling-train", {"pictures.budgets": (1e10,)}, "--pictures.budgets 10000000000.0 must be two or more"),
    ("scaling-train", {"pictures.budgets": (1e10, 1e9)}, "each number must be above the one before"),
    ("instruct", {"warmup": 600}, "--warmup 600 must be below --train-steps 600"),
    ("instruct", {"judged": 2526}, "--judged 2526 is above 2525, half of the pairs of numbers of 2 digits"),
    ("instruct", {"tuning_batch": 8001}, "--tuning-batch 8001 is above --pairs 8000"),
    ("constitution", {"warmup": 800}, "--warmup 800 must be below --train-steps 800"),
    ("constitution", {"judged": 5001}, "--judged 5001 is above 5000, half of the 10000 requests"),
    ("constitution", {"revised": 8001}, "--revised 8001 is above 8000, the requests that --judged 2000 leaves"),
    ("constitution", {"preference_batch": 8001}, "--preference-batch 8001 is above --pairs 8000"),
    (
        "ddpo",
        {"digits.parts": 3},
        "twice --digits.parts 3 must divide --digits.batch 64",
    ),
    ("ddpo", {"prompts": 5}, "--scenes.batch 128 must hold each of --prompts 5 equally often"),
    ("ddpo", {"last": 10}, "--last 10 is above --digits.acting 9"),
    (
        "ddpo",
        {"digits.acting": 10},
        "--digits.acting 10 must be below --digits.steps 10",
    ),
    ("test-time", {"small": 64}, "--large 64 must be above --small 64"),
    ("test-time", {"warmup": 1200}, "--warmup 1200 must be below --train-steps 1200"),
    ("test-time", {"samples": 48}, "--samples 48 must be a power of 2"),
    ("test-time", {"doublings": 7}, "--doublings 7 of one sample are more than --samples 64"),
    ("test-time", {"noises": (2.0, 1.0)}, "--noises 2.0 1.0: each number must be above"),
    ("test-time", {"digits": 1}, "--questions 1000 is above 27, half of the pairs of --digits 1"),
    ("test-time", {"pool": 100}, "--batch 128 is above --pool 100"),
    ("test-time", {"pictures.batch": 1348}, "--pictures.batch 1348"),
    ("multimodal", {"heads": 5}, "--heads 5 must divide --width 96"),
    ("multimodal", {"heads": 48}, "an even number of channels, at least 4"),
    ("video", {"heads": 5}, "--heads 5 must divide --channels 32 48 64"),
    ("video", {"heads": 16}, "an even number of channels, at least 6"),
    ("video", {"groups": 3}, "--groups 3 must divide each of --channels 32 48 64"),
    ("video", {"lengths": (8, 4)}, "--lengths 8 4: each number must be above the one before"),
    ("video", {"sides": (16,)}, "--sides 16 must be two or more"),
    ("batch-jobs", {"compared": 999}, "--compared 999 must be a multiple of --shard-size 1000 times --rounds 10"),
    ("batch-jobs", {"shortest": 21.0}, "--shortest 21.0 is above --longest 20.0"),
    ("bench", {"cases": ("dit",)}, "dit"),
    ("bench", {"against": "/nowhere"}, "--against /nowhere"),
]


@pytest.mark.fault("command line: numbers that do not fit each other")
def test_numbers_that_do_not_fit_each_other_are_refused():
    problems = []
    for name, changes, words in MISFITS:
        config = studies()[name].presets["full"]
        for path, value in changes.items():
            config = replaced(config, path, value)
        problem = not_refused(studies()[name], config, words)
        problems += [f"{name} {changes}: {problem}, not {words!r}"] if problem else []
    assert not problems, "\n".join(problems)
