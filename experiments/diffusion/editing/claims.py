"""What the editing experiment claims, and the controls that it must tell from its treatments."""

from collections.abc import Iterator
from typing import Any

from experiments.diffusion.editing.problems import MASKS
from gendiff.runs.study import ClaimRow, ControlRow, claim, control

RIVALS = {**dict.fromkeys(MASKS, "mean digit"), "super-resolution": "bicubic", "deblurring": "Wiener"}
"""What each problem is held against."""
UNTRAINED, SHUFFLED = "PiGDM, untrained", "PiGDM, other's data"
ONCE, SMALLEST = "RePaint, walked once", "DPS, smallest scale"
DDIM, REVERSIBLE, FRESH = "DDIM inversion and back", "reversible Heun and back", "DDIM from fresh noise"
EDIT, EDIT_OTHER = "img2img to its digit", "img2img to another digit"


def rows_of(problem: str) -> Iterator[ClaimRow | ControlRow]:
    """Claims and controls of one problem."""
    slug, rival, ours = problem.replace(" ", "-"), RIVALS[problem], f"{problem} by PiGDM"
    more: dict[str, Any] = {"role": "check", "reason": "0 is the rival, which learned no digits"}
    for method in ("PiGDM", "DPS", *(("RePaint",) if problem in MASKS else ())):
        set, words = f"{problem} by {method}", f"the judge's accuracy less that on {rival}"
        yield claim(
            set, "read over rival", ">=", 0.0, statement=f"{set}: {words}", id=f"{slug}-{method.lower()}-judge", **more
        )
    if problem not in MASKS:
        yield claim(
            ours, "gain", ">=", 0.0, statement=f"{ours}: dB above {rival}", id=f"{slug}-psnr", figure="psnr.png", **more
        )
    for bad, word in ((UNTRAINED, "untrained"), (SHUFFLED, "shuffled")):
        yield control(f"{problem} by {bad}", "psnr", against=ours, by="<=", id=f"{slug}-{word}", figure="psnr.png")
    smallest, chosen = f"{problem} by {SMALLEST}", f"{problem} by DPS"
    yield control(smallest, "psnr", against=chosen, by="<=", id=f"{slug}-smallest", figure="psnr.png")


ROWS = [row for problem in RIVALS for row in rows_of(problem)]
AIMS = (
    claim(
        "lower half by DPS",
        "read",
        ">=",
        0.85,
        role="aim",
        statement="lower half by DPS: the judge's accuracy",
        reason="the mean digit is read at 0.63, the nearest training digit at 0.88",
        figure="lower_half.png",
    ),
    claim(
        "super-resolution by DPS",
        "read",
        ">=",
        0.9,
        role="aim",
        statement="super-resolution by DPS: the judge's accuracy",
        reason="bicubic is read at 0.75, the nearest training digit at 0.93",
        figure="super_resolution.png",
    ),
    claim("deblurring by DPS", "gain over PiGDM", ">=", 0.0, role="aim", reason="0 is PiGDM", figure="deblurring.png"),
)

CLAIMS = (
    *AIMS,
    *(row for row in ROWS if isinstance(row, ClaimRow)),
    claim(
        DDIM,
        "slope",
        "<=",
        -0.5,
        role="check",
        reason="first order is -1",
        id="round-trip-slope",
        figure="round_trip.png",
    ),
    claim(
        REVERSIBLE,
        "extreme",
        "<=",
        1e-4,
        role="check",
        reason="rounding of float32 over 100 steps",
        id="round-trip-reversible",
    ),
    claim(FRESH, "times", ">=", 3.0, role="check", reason="1 is a round trip that forgot the digit", id="fresh-ratio"),
    claim(
        EDIT,
        "rank",
        ">=",
        0.8,
        role="check",
        reason="1 is a rising order, 0 none",
        id="strength",
        figure="strengths.png",
    ),
)
CONTROLS = (
    *(row for row in ROWS if isinstance(row, ControlRow)),
    control(f"lower half by {ONCE}", "read", against="lower half by RePaint", by="<=", id="lower-half-once"),
    control(FRESH, "extreme", against=REVERSIBLE, by=">=", id="fresh-reversible"),
    control(EDIT_OTHER, "rank", against=EDIT, by="<=", margin=-0.5, id="strength-other"),
)
