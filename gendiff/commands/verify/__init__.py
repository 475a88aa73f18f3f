"""Who made this file? Its metadata, its content credentials (C2PA), and the watermarks whose keys one has.

    gendiff verify cat.png
    gendiff verify cat.png --mark mark.json
    gendiff verify answer.txt --mark mark.json --model smollm2

It takes a second, and up to a minute where a watermark is asked for. What it prints are findings and no verdict.
"""

from gendiff.commands.verify import verify_options
from gendiff.commands.verify.verify_options import VerifyOptions
from gendiff.runs.registry import Late, Tool

__all__ = ["COMMAND", "VerifyOptions"]

COMMAND = Tool(
    VerifyOptions,
    Late("gendiff.commands.verify.command"),
    "What does a picture or a text say of who made it?",
    check=verify_options.path,
)
