"""What do samples copy? Pictures beside their nearest training pictures, and whether more of them are near-copies than
of held-out ones.

    gendiff copies SAMPLES --train PHOTOS --held-out OTHERS
    gendiff copies runs/images --train PHOTOS
    gendiff copies WRITTEN --text --train CORPUS

It works on any folders, whoever made the samples. Each picture is decoded once, and the time of the comparison grows
with samples times training pictures. It leaves copies.html and copies.json. There is no verdict: nobody wrote a
threshold for your data.
"""

from gendiff.commands.copies import copies_options
from gendiff.commands.copies.copies_options import CopiesOptions
from gendiff.runs.registry import Late, Tool

__all__ = ["COMMAND", "CopiesOptions"]

COMMAND = Tool(
    CopiesOptions,
    Late("gendiff.commands.copies.command"),
    "Which training pictures or texts do samples copy, and how often do fresh ones look so?",
    check=copies_options.check,
)
