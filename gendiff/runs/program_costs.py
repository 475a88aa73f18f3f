"""What a program costs as XLA states it: operations before it optimises, and memory of what it compiled."""

import math

import jax

from gendiff.core.types import Lowered


def flops(lowered: Lowered) -> float:
    """FLOPs of one call of a lowered program, `jax.jit(f).lower(…)`, whose arguments may be shapes; NaN where the
    backend counts none.

    XLA counts the body of a loop once, so a network is counted with attention_implementation="heads_first", which has
    none.
    """
    return _counted(lowered, "flops")


def moved_bytes(compiled: jax.stages.Compiled) -> float:
    """Bytes that the operations of a compiled program read and write, fused ones as one; NaN where the backend counts
    none.
    """
    return _counted(compiled, "bytes accessed")


def peak_bytes(compiled: jax.stages.Compiled) -> int:
    """Bytes that one call of a compiled program needs: arguments, results that do not take their place, and what lies
    between.

    What a library that the program calls takes for itself is not in it. 0 where the backend states nothing.
    """
    stated = compiled.memory_analysis()
    if stated is None:
        return 0
    held = stated.argument_size_in_bytes + stated.output_size_in_bytes - stated.alias_size_in_bytes
    return int(held + stated.temp_size_in_bytes)


def _counted(program: Lowered | jax.stages.Compiled, name: str) -> float:
    counted = program.cost_analysis()
    return float((counted[0] if isinstance(counted, list) else counted or {}).get(name, math.nan))
