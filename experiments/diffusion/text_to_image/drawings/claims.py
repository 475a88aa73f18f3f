"""What drawings must show: they are most like the right one, unseen words and colours count, nothing is copied; and controls."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.diffusion.text_to_image.drawings.answers import SEEN, UNSEEN, Answers
from gendiff.commands.text_to_image.config import Config
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim

_CURVES = "emoji_curves.png"


def claims(config: Config, answers: Answers) -> Iterator[Claim]:
    """Per seed at the scale that other training captions choose."""
    against, best = functools.partial(verdicts.against, config.thresholds), answers.best
    among = f"most like the own drawing among {config.drawings.candidates}"
    for place, seed in enumerate(config.drawings.seeds):
        for id, name, threshold in (("emoji-retrieved", SEEN, "retrieved"), ("emoji-retrieved-unseen", UNSEEN, "retrieved_unseen")):
            hits = answers.sweeps[name].tables["retrieved"][place][best] > 0
            about = f"emoji, {name}: {among}, at the scale that other training captions choose"
            yield against(seed, id, about, intervals.share(hits), ">=", threshold, n=len(hits), figure=_CURVES)
        gain = answers.colours[place]
        about = 'emoji, combinations such as "a red cat": share of the asked colour, less that in the picture without the word'
        number = intervals.interval(np.mean, gain)
        yield against(seed, "emoji-colour-follows", about, number, ">=", "colour_follows", n=len(gain), figure="emoji_combinations.png")
    excess = answers.copies.excess
    assert excess is not None  # there are held-out drawings
    about = "emoji, held-out captions: near-copies of training drawings, above the rate of held-out drawings"
    shown = {"n": len(answers.copies.ratios), "figure": "emoji_nearest.png"}
    yield against(config.drawings.seeds[0], "emoji-copies", about, excess.number, "<=", "copies", **shown)
    control = functools.partial(against, None, kind="control")
    blank, decoded = (rows["retrieved"] > 0 for rows in (answers.untrained, answers.decoded))
    about = f"emoji, a network that is not trained: {among}"
    yield control("emoji-untrained", about, intervals.share(blank), "<=", "retrieved_by_chance", n=len(blank))
    about = f"emoji, decoded drawings: {among}"
    yield control("emoji-decoded", about, intervals.share(decoded), ">=", "decoded_retrieved", n=len(decoded))
    mean, one_step = answers.mean["retrieved"] > 0, answers.one_step["retrieved"] > 0
    about = f"emoji, the mean training drawing for every prompt: {among}"
    yield control("emoji-mean-picture", about, intervals.share(mean), "<=", "retrieved_by_chance", n=len(mean))
    about = f"emoji, pictures in all steps less those in one: share that is {among}"
    hits = answers.sweeps[SEEN].tables["retrieved"][0][best]
    number = intervals.interval(intervals.difference_of_means, hits, one_step.astype(np.float64), paired=True)
    yield control("emoji-one-step", about, number, ">=", "one_step", n=len(hits))
