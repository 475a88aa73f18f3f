"""What the processor of this machine can do, as Linux tells it."""

import contextlib
from pathlib import Path

INFO = Path("/proc/cpuinfo")


def flags() -> frozenset[str]:
    """The instructions that the first core has, such as "avx512f"; none where the system does not tell."""
    with contextlib.suppress(OSError), open(INFO, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, words = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(words.split())
    return frozenset()
