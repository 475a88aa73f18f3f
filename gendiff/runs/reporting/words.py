"""Words of measures that a reader may not know, explained where they stand: in the report, on the terminal and on pages
of results.
"""

import itertools
import re
from collections.abc import Iterable, Mapping

from gendiff.runs.reporting.results import Results

WORDS: Mapping[str, str] = {
    "floor": "the Fréchet distance of real training data to held-out data. 1 is as near as real data come; 10 is ten "
    "times as far.",
    "near-copies": (
        "samples that are much nearer to one training picture than to any other. Held-out pictures, which copy "
        "nothing, have such a rate too. What lies above it is copied; 0 or less is none."
    ),
    "precision": "the share of samples that look real.",
    "recall": "the share of real data that samples come near to: how much of the variety is there.",
}
"""Each word, as it stands in statements, tables and captions, and what it means."""


def used_in(outcome: Results) -> dict[str, str]:
    """The words that claims, figures and tables use, with what they mean."""
    captions = [each.caption for each in outcome.figures] + [each.caption for each in outcome.explorers]
    columns = itertools.chain.from_iterable((table.title, *table.columns) for table in outcome.tables)
    return among([each.statement for each in outcome.claims] + captions + list(columns))


def among(texts: Iterable[str]) -> dict[str, str]:
    """The words that texts use, with what they mean."""
    text = "\n".join(texts)
    return {word: meaning for word, meaning in WORDS.items() if re.search(rf"\b{word}(s|\b)", text)}
