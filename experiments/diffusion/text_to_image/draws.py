"""Pictures of captions under guidance: one compiled program serves every scale, number of steps, caption and parameters of a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.encoded_captions import Encoded
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.networks import NO_TEXT
from gendiff.runs.progress import Progress


@dataclass(frozen=True, eq=False)
class CaptionDraws:
    """Pictures, or latents, of one network. steps: most steps, and how many are taken unless a call says otherwise.

    read: captions as the network reads them. together: pictures per call of the program.
    """

    model: Model
    read: Callable[[tuple[str, ...]], Encoded]
    steps: int
    together: int
    progress: Progress

    def __call__(self, title: str, params: Params, captions: Sequence[str], scale: float, steps: int | None = None) -> np.ndarray:
        """(n, h, w, c), not clipped. Picture i starts from the same noise whatever else differs.

        Raises NonFiniteError with the indices of those that are not finite.
        """
        draw = image_draws.Draws(self.model, self.steps, self.together, self.progress, absent=NO_TEXT)
        words = self.read(tuple(captions)).rows(np.arange(len(captions)))
        options: dict[str, Any] = {"scale": scale, "rule": image_draws.classifier_free, "steps": steps}
        return draw(f"{title}, scale {scale:g}", params, len(captions), condition=words, **options)
