"""Speculation on made-up texts: rounds belong together, and a draft gains where a call gives more tokens than it
costs.
"""

import numpy as np
import pytest

from experiments.language import speculative
from experiments.language.speculative import EARLY, EXPERIMENT, LOOKUP, LOOKUP_INT8, PLAIN, PLAIN_INT8, TASKS, Text


def text(task, slow, calls=4):
    """Of 12 tokens; the draft takes 2 s in a round of which nothing else slows the machine down."""
    seconds = {
        PLAIN: np.array([3.0, 6.0, 3.0]) * slow,
        PLAIN_INT8: np.array([2.0, 4.0, 2.0]) * slow,
        LOOKUP: np.array([2.0, 4.0, 2.0]),
        LOOKUP_INT8: np.array([2.0, 4.0, 2.0]),
        EARLY: np.array([6.0, 12.0, 6.0]),
    }
    counts = {LOOKUP: calls, EARLY: 6, LOOKUP_INT8: calls}
    same = {LOOKUP: True, EARLY: task == "code", LOOKUP_INT8: True}
    tokens, accepted, judged = (
        {way: 12 for way in counts},
        {**counts, LOOKUP: 8, EARLY: 3},
        {**counts, LOOKUP: 10, EARLY: 0},
    )
    return Text(task, seconds, tokens, counts, accepted, judged, same, counts)


def test_gains_are_of_all_texts_of_a_task():
    texts = [text(task, slow) for task in TASKS for slow in (1.0, 2.0)]
    result = {each.name: each for each in speculative.judge(EXPERIMENT.presets["full"], texts)}
    assert (result[LOOKUP].measures["same"], result[EARLY].measures["same"]) == (1.0, pytest.approx(1 / len(TASKS)))
    fast, slow = (result[f"copying, {way}"].measures for way in (LOOKUP, EARLY))
    assert fast["faster"] == (2.25,) * 3 and slow["faster"] == (0.75,) * 3
    assert (fast["tokens per call"], fast["accepted"], fast["guesses per token"]) == (3.0, 0.8, pytest.approx(10 / 12))
    assert result[f"copying, {LOOKUP_INT8}"].measures["faster"] == (1.5,) * 3
    assert "accepted" not in slow and result[f"code, {LOOKUP}"].n == 2 * 5
