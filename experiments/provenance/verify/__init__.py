"""Who made this file? Its metadata, its content credentials (C2PA), and the watermarks whose keys one has.

    python -m experiments verify cat.png
    python -m experiments verify cat.png --mark mark.json
    python -m experiments verify answer.txt --mark mark.json --model smollm2

It takes a second, and up to a minute where a watermark is asked for. What it prints are findings and no verdict.
"""

from experiments.framework.registry import Tool
from experiments.provenance.verify import command
from experiments.provenance.verify.command import VerifyOptions

__all__ = ["COMMAND", "VerifyOptions"]

COMMAND = Tool(VerifyOptions, command.call, "What does a picture or a text say of who made it?")
