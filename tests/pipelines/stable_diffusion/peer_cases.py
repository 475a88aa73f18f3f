"""What is drawn by a pipeline of diffusers and by ours alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """folder: of `tiny_folders`. prompts, negative: texts; None for no negative prompt. steps, scale: numbers of the
    draw. size: height and width. changes: a part -> other settings of it. embedded: the scale that FLUX is told.
    """

    folder: str
    prompts: tuple[str, ...]
    negative: str | None
    steps: int
    scale: float
    size: tuple[int, int] = (16, 16)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    embedded: float | None = None

    @property
    def latent(self) -> tuple[int, int, int]:
        """The shape of one latent."""
        return self.size[0] // 2, self.size[1] // 2, 4


CASES = {
    "stable": Case("stable", ("red cat", "a dog, a dog"), "cat!", 3, 4.0),
    "xl": Case("xl", ("red cat", "a dog, a dog"), None, 3, 3.0),
    "flux": Case("flux", ("red cat", "a dog, a dog"), None, 3, 1.0, embedded=3.0),
}
FIXED = {"scheduler": {"use_dynamic_shifting": False}}
SCHNELL = {"scheduler": {"use_dynamic_shifting": False, "shift": 1.0}, "transformer": {"guidance_embeds": False}}
VARIANTS = {
    "dev, wide": Case("flux", ("red cat", "dog"), None, 4, 1.0, (20, 28), embedded=5.5),
    "dev, high, a negative prompt": Case("flux", ("red cat",), "a dog", 3, 2.5, (24, 8), embedded=1.5),
    "dev, a fixed shift": Case("flux", ("cat",), None, 2, 1.0, embedded=3.5, changes=FIXED),
    "dev, a linear shift": Case(
        "flux", ("cat",), None, 3, 1.0, embedded=3.5, changes={"scheduler": {"time_shift_type": "linear"}}
    ),
    "dev, a terminal shift": Case(
        "flux", ("cat",), None, 5, 1.0, embedded=3.5, changes={"scheduler": {"shift_terminal": 0.02}}
    ),
    "schnell, one step": Case("flux", ("red cat", ""), None, 1, 1.0, changes=SCHNELL),
    "schnell, four steps, a negative prompt": Case("flux", ("red cat",), "dog", 4, 3.0, (12, 16), changes=SCHNELL),
    "schnell, deeper, three prompts": Case(
        "flux",
        ("red cat", "a", "dog" * 9),
        None,
        2,
        1.0,
        (8, 8),
        changes=SCHNELL | {"transformer": {"guidance_embeds": False, "num_layers": 2, "num_single_layers": 3}},
    ),
}
