"""The patterns of a stranger's tokenizer, compiled and matched with texts that are bad for them.

`core.child_process` runs it, since such a pattern may need more time and memory than there is, so that it imports
nothing of gendiff.
"""

from collections.abc import Mapping

import tokenizers

REPEATS = 2000
"""Letters of a text that a pattern might split in too many ways."""


def answer(request: Mapping[str, str]) -> tuple[()]:
    """Build the tokenizer and read texts with it.

    Args:
        request: "tokenizer", a tokenizer.json with its patterns and without its vocabulary.
    """
    library = tokenizers.Tokenizer.from_str(request["tokenizer"])
    for letter in sorted({*request["tokenizer"], *"a0 \n."}):
        library.encode(letter * REPEATS + "\0", add_special_tokens=False)
    return ()
