"""A change of a kernel as two small factors, for `networks.lora` and `weights.lora_files`."""

import jax

from gendiff.core.records import record


@record
class LowRank:
    """Two factors of a change of a kernel.

    Attributes:
        down: (in, r), called A; all but the last axis of a kernel are inputs.
        up: (r, out), called B.
    """

    down: jax.Array
    up: jax.Array
