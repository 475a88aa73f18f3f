"""What does a language model learn from rows of your own, by an adapter of low rank?

    gendiff tune ROWS.jsonl --method sft --lora 8 --out OUT
    gendiff chat --lora OUT

The parameters of the model stay as they are, and small matrices beside them learn: from answers (sft), from pairs of
answers (dpo), or from rewards of answers that the model draws (grpo). Held-out rows are measured without the adapter
and with it. OUT holds the adapter as peft loads it.
"""

from gendiff.commands.tune.config import SMOKE, Config
from gendiff.runs.registry import Experiment, Late

__all__ = ["EXPERIMENT", "Config"]

EXPERIMENT = Experiment(
    "tune",
    "",
    Config,
    {"full": Config()},
    SMOKE,
    Late("gendiff.commands.tune.train", "train"),
    Late("gendiff.commands.tune.judge", "evaluate"),
    typed="tune",
    check=Late("gendiff.commands.tune.rows", "check"),
    plan=Late("gendiff.commands.tune.rows", "plan"),
)
