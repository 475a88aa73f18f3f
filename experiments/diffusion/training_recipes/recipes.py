"""The recipes: what each changes of plain training, and of which network."""

from dataclasses import dataclass

UNET, DIT = "U-Net", "DiT"
BASES = (UNET, DIT)
"""Plain training: the squared error of the velocity with a uniform weight, at levels spread evenly in u."""
LOGIT_NORMAL, MIN_SNR, IMMISCIBLE = "logit-normal levels", "min-SNR weights", "immiscible noise"
MODERN, ALIGNED, UNTAUGHT = "modern blocks", "alignment (REPA)", "alignment with a network that learned nothing"


@dataclass(frozen=True)
class Recipe:
    """base: the plain training that it changes. claimed: whether it is said to learn sooner; a plain one and a comparison are not.

    aligned: whether it trains a projector too, which does not draw.
    """

    base: str
    claimed: bool = True
    aligned: bool = False


RECIPES: dict[str, Recipe] = {
    UNET: Recipe(UNET, claimed=False),
    LOGIT_NORMAL: Recipe(UNET),
    MIN_SNR: Recipe(UNET),
    IMMISCIBLE: Recipe(UNET),
    DIT: Recipe(DIT, claimed=False),
    MODERN: Recipe(DIT),
    ALIGNED: Recipe(DIT, aligned=True),
    UNTAUGHT: Recipe(DIT, claimed=False, aligned=True),
}
"""By the name in tables."""
