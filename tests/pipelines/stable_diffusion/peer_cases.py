"""What is drawn by a pipeline of diffusers and by ours alike."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """folder: of `tiny_folders`. prompts, negative: texts; None for no negative prompt. steps, scale: numbers of the
    draw.
    """

    folder: str
    prompts: tuple[str, ...]
    negative: str | None
    steps: int
    scale: float


CASES = {
    "stable": Case("stable", ("red cat", "a dog, a dog"), "cat!", 3, 4.0),
    "xl": Case("xl", ("red cat", "a dog, a dog"), None, 3, 3.0),
}
