"""A change of a kernel as two small factors: `networks.lora` trains them, and `weights.lora_files` reads and writes them."""

from typing import Any

from gendiff.core.records import record


@record
class LowRank:
    """Two factors of a change of a kernel.

    Attributes:
        down: (in, r), called A; all but the last axis of a kernel are inputs.
        up: (r, out), called B.
    """

    down: Any
    up: Any
