"""Constants of scaling laws as published, and the sizes of some models that were trained.

Constants hold for the tokeniser, the data and the way of counting parameters of their own paper. Losses of different
papers do not compare.
"""

import dataclasses
import math

from gendiff.scaling.laws import Chinchilla, Frontier, Kaplan

CHINCHILLA_FLOPS = 5.76e23
"""Operations of the training of Gopher, for which Chinchilla was planned (Hoffmann et al., 2022, Table 3)."""

PETAFLOP_DAY = 8.64e19


def _through(parameters: float, exponent: float) -> Frontier:
    """The power law with a published number of parameters at Chinchilla's budget; papers round the coefficient away."""
    return Frontier(parameters / CHINCHILLA_FLOPS**exponent, exponent)


HOFFMANN_1 = _through(67e9, 0.50)
"""Approach 1, the envelope: 67B parameters at Chinchilla's budget (Hoffmann et al., 2022, Table 3, from memory)."""

HOFFMANN_2 = _through(63e9, 0.49)
"""Approach 2, IsoFLOP: 63B parameters at Chinchilla's budget (Hoffmann et al., 2022, Table 2, Fig. 3, from memory)."""

HOFFMANN = Chinchilla(math.exp(0.5267228), math.exp(6.0073404), math.exp(6.0179186), 0.33917084, 0.2849083)
"""Approach 3, the parametric fit, unrounded: E 1.69, A 406.4, B 410.7.

Source: Hoffmann et al., 2022, Eq. 10, with the digits of Epoch's notebook. Its exponent, 0.46, disagrees with
approaches 1 and 2. The optimiser stopped early (Besiroglu et al., 2024).
"""

EPOCH = Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
"""The same law fitted again to the points of Hoffmann et al., without the 5 largest losses.

Source: Besiroglu et al., 2024, Table 1.

It is the maximum of a likelihood with a fitted scale, not of the plain Huber objective.
"""

EPOCH_ERRORS = {
    "floor": 0.026,
    "of_parameters": 124.5,
    "of_tokens": 1293.3,
    "alpha": 0.015,
    "beta": 0.021,
    "exponent": 0.020,
}
"""Standard errors of `EPOCH`, by bootstrap (Besiroglu et al., 2024, Table 1)."""

KAPLAN = Kaplan(6.4e13, 1.8e13, 0.076, 0.103)
"""The joint law; parameters are counted without embeddings (Kaplan et al., 2020, Table 2, from memory)."""

KAPLAN_FRONTIER = Frontier(1.3e9 / PETAFLOP_DAY**0.73, 0.73)
"""Kaplan's size: 1.3e9 parameters, no embeddings, at a petaflop/s-day (Kaplan et al., 2020, Table 6, from memory)."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model that was trained.

    Args:
        name: of the model.
        parameters: N.
        tokens: D, over all epochs.
        source: where the numbers stand.
    """

    name: str
    parameters: float
    tokens: float
    source: str

    @property
    def flops(self) -> float:
        """Operations of its training by the usual estimate, 6 N D."""
        return 6 * self.parameters * self.tokens


GPT_3 = Trained("GPT-3", 175e9, 300e9, "Brown et al., 2020, Table 2.1")
GOPHER = Trained("Gopher", 280e9, 300e9, "Rae et al., 2021")
CHINCHILLA = Trained("Chinchilla", 70e9, 1.4e12, "Hoffmann et al., 2022, Table 1")
LLAMA_3_8B = Trained("Llama 3 8B", 8.03e9, 15e12, "Meta's model card: more than 15T tokens")
LLAMA_3_70B = Trained("Llama 3 70B", 70.6e9, 15e12, "Meta's model card: more than 15T tokens")

MODELS = (GPT_3, GOPHER, CHINCHILLA, LLAMA_3_8B, LLAMA_3_70B)
