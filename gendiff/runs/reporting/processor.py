"""What the processor of this machine is and can do, as Linux tells it."""

import contextlib
from pathlib import Path

INFO = Path("/proc/cpuinfo")
VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


def flags() -> frozenset[str]:
    """The instructions that the first core has, such as "avx512f"; none where the system does not tell."""
    return frozenset(_first("flags", "Features").split())


def name() -> str:
    """What it calls itself, with its family and model, which virtual machines leave in place; "" where the system does
    not tell.
    """
    words = _first("model name")
    numbers = [
        f"{word} {number}" for word, key in (("family", "cpu family"), ("model", "model")) if (number := _first(key))
    ]
    return ", ".join([words, *numbers]) if words else ""


def vendor() -> str:
    """The maker, such as "Intel" or "AMD"; "" where the system does not tell."""
    maker = _first("vendor_id")
    return VENDORS.get(maker, maker)


def _first(*names: str) -> str:
    """What the first line of one of these names says."""
    with contextlib.suppress(OSError), open(INFO, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, words = line.partition(":")
            if key.strip() in names:
                return words.strip()
    return ""
