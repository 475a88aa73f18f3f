"""The picture that the README and the site open with: `python -m experiments.documentation.opening_picture` draws it in
2 minutes.

Each tile is what `gendiff text-to-image --prompt PROMPT --guidance 3 --steps 24 --num 1` draws. The prompts were chosen
by eye, among names of drawings that the network has learned from, some of them in colours that no drawing has.
"""

import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from gendiff.commands import command_line
from gendiff.commands.catalogue import EXPERIMENTS

FILE = Path(__file__).with_name("pages") / "assets" / "opening.png"
PROMPTS = (
    *(
        "smiling face with sunglasses",
        "a red apple",
        "a green apple",
        "a strawberry",
        "lemon",
        "watermelon",
        "doughnut",
        "a hamburger",
    ),
    *("a cat", "a blue cat", "a turtle", "an octopus", "a butterfly", "a purple frog", "a blue mushroom", "a rose"),
    *("a house", "a star", "a crown", "a blue crown", "a sailboat", "a gem stone", "a crescent moon", "flag of Sweden"),
)
COLUMNS, SIDE, MARGIN, WORDS = 8, 128, 8, 40
"""Tiles per row, and pixels of a tile, of the space around it and of the words below it."""


def main() -> None:
    """Draws every prompt and writes the sheet."""
    cell, rows = (SIDE + 2 * MARGIN, SIDE + 2 * MARGIN + WORDS), -(-len(PROMPTS) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * cell[0], rows * cell[1]), "white")
    words, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for number, prompt in enumerate(PROMPTS):
        left, top = number % COLUMNS * cell[0] + MARGIN, number // COLUMNS * cell[1] + MARGIN
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tile.png"
            options = ["--prompt", prompt, "--guidance", "3", "--steps", "24", "--num", "1", "--out", str(file)]
            if command_line.main(["text-to-image", *options], EXPERIMENTS):
                raise SystemExit(f"{prompt}: nothing was drawn")
            sheet.paste(Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
        words.multiline_text(
            (left + SIDE // 2, top + SIDE + 2), textwrap.fill(prompt, 17), "#555", font, "ma", 2, "center"
        )
    sheet.save(FILE, optimize=True)


if __name__ == "__main__":
    main()
