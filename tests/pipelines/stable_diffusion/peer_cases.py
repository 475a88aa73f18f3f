"""What is drawn by a pipeline of diffusers and by ours alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """folder: of `tiny_folders`. prompts, negative: texts; None for no negative prompt. steps, scale: numbers of the
    draw. size: height and width. changes: as of `peer_pipelines.built`. embedded: the scale that FLUX is told.
    skipped: blocks that a weaker answer leaves out. pipeline: another class that reads the same parts. references:
        height and width of each picture that it reads beside the prompt.
    """

    folder: str
    prompts: tuple[str, ...]
    negative: str | None
    steps: int
    scale: float
    size: tuple[int, int] = (16, 16)
    changes: Mapping[str, Any] = field(default_factory=dict)
    embedded: float | None = None
    skipped: tuple[int, ...] = ()
    pipeline: str | None = None
    references: tuple[tuple[int, int], ...] = ()

    @property
    def latent(self) -> tuple[int, int, int]:
        """The shape of one latent."""
        return self.size[0] // 2, self.size[1] // 2, 4

    @property
    def pictures(self) -> list[np.ndarray]:
        """The bytes (h, w, 3) of the references."""
        rng = np.random.default_rng(1)
        return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in self.references]


KONTEXT = "FluxKontextPipeline"
CASES = {
    "stable": Case("stable", ("red cat", "a dog, a dog"), "cat!", 3, 4.0),
    "xl": Case("xl", ("red cat", "a dog, a dog"), None, 3, 3.0),
    "flux": Case("flux", ("red cat", "a dog, a dog"), None, 3, 1.0, embedded=3.0),
    "sd3": Case("sd3", ("red cat", "a dog, a dog"), "cat!", 3, 4.0),
    "flux_2": Case("flux_2", ("red cat", "a dog, a dog"), None, 3, 1.0),
    "z_image": Case("z_image", ("red cat", "a dog, a dog, a dog"), None, 3, 1.0),
    "kontext": Case("flux", ("red cat", "a dog"), None, 3, 1.0, (16, 16), {}, 2.5, (), KONTEXT, ((20, 12),)),
    "klein, two pictures": Case("flux_2", ("red cat", "a"), None, 3, 1.0, references=((64, 64), (72, 68))),
}
DYNAMIC = {"use_dynamic_shifting": True, "base_image_seq_len": 8, "max_image_seq_len": 32}
FIXED = {"scheduler": {"use_dynamic_shifting": False}}
SCHNELL = {"scheduler": {"use_dynamic_shifting": False, "shift": 1.0}, "transformer": {"guidance_embeds": False}}
WITHOUT_T5: Mapping[str, None] = {"text_encoder_3": None, "tokenizer_3": None}
NEWER = {"qk_norm": "rms_norm", "num_layers": 3}
VARIANTS = {
    "kontext, wide, a negative prompt": Case(
        "flux", ("red cat",), "dog", 4, 2.0, (20, 28), {}, 3.5, (), KONTEXT, ((20, 28),)
    ),
    "kontext, no picture": Case("flux", ("cat", "dog"), None, 2, 1.0, (8, 16), {}, 2.5, (), KONTEXT),
    "klein, a picture larger than what is drawn": Case(
        "flux_2", ("red",), None, 4, 1.0, (12, 8), {"transformer": {"num_layers": 2}}, references=((68, 96),)
    ),
    "klein, three pictures": Case("flux_2", ("a dog",), None, 1, 1.0, references=((64, 64), (64, 80), (72, 64))),
    "klein base, guidance": Case("flux_2", ("red cat", "a dog"), None, 3, 4.0, changes={"is_distilled": False}),
    "klein base, guidance, a picture": Case(
        "flux_2", ("red",), None, 2, 3.0, (8, 16), {"is_distilled": False}, references=((64, 68),)
    ),
    "klein, wide, deeper": Case("flux_2", ("red",), None, 4, 1.0, (20, 28), {"transformer": {"num_layers": 2}}),
    "z, wide": Case("z_image", ("red cat", ""), None, 4, 1.0, (20, 28)),
    "z, high, a negative prompt, a long one": Case("z_image", ("red cat", "red " * 5), "dog", 2, 3.0, (32, 20)),
    "z, deeper, a shift by the size": Case(
        "z_image", ("cat",), "a", 3, 2.0, (8, 16), {"scheduler": DYNAMIC, "transformer": {"n_refiner_layers": 2}}
    ),
    "z, one step": Case("z_image", ("dog", "a", "cat"), None, 1, 1.0, (12, 12)),
    "3, wide": Case("sd3", ("red cat", "dog"), None, 4, 7.0, (20, 28)),
    "3, without guidance, long prompts": Case("sd3", ("red cat " * 9, "dog"), None, 2, 1.0, (8, 16)),
    "3, two text encoders": Case("sd3", ("red cat",), "dog", 2, 3.0, changes=WITHOUT_T5),
    "3, a shift by the size": Case("sd3", ("cat",), "a", 3, 3.0, (24, 16), {"scheduler": DYNAMIC}),
    "3.5, own attention": Case(
        "sd3", ("cat",), None, 2, 3.0, (12, 32), {"transformer": NEWER | {"dual_attention_layers": [0, 1]}}
    ),
    "3.5, one block left out": Case(
        "sd3", ("red cat", "a"), None, 6, 4.0, changes={"transformer": NEWER}, skipped=(1,)
    ),
    "3.5, the outer blocks left out": Case(
        "sd3", ("cat",), "dog", 11, 2.0, changes={"transformer": NEWER}, skipped=(0, 2)
    ),
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
