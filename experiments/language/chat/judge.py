"""A hundred questions, as plain text and in the chat template: how many are answered, and how many answers end."""

import functools

from experiments.language import questions, replies
from experiments.language.chat.config import Config
from experiments.language.replies import Marks
from gendiff.commands.chat import models
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Table
from gendiff.runs.run_folder import RunFolder

SHOWN = 12
"""Questions of the table."""
KINDS = ("plain text", "chat template")


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Ask every question in both ways."""
    chat = models.tiny() if config.tiny else models.opened()
    asked = questions.questions()[: config.questions]
    texts = [question for question, _ in asked]
    with progress.phase("plain text"):
        as_text = replies.marks(models.answers(chat, texts, config.max_tokens, template=False), asked)
    with progress.phase("chat template"):
        as_chat = replies.marks(models.answers(chat, texts, config.max_tokens), asked)
    useful = [marks.right & marks.ended for marks in (as_text, as_chat)]
    gain = intervals.interval(intervals.difference_of_means, *useful[::-1], paired=True, resamples=config.resamples)
    apart = len(asked) // 3
    shuffled = replies.right(as_chat.texts, [answers for _, answers in asked[apart:] + asked[:apart]])
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(asked))
    claims = (
        claim("answered", "share of the questions that are answered rightly in the chat template", intervals.share(as_chat.right), ">="),
        claim("ended", "share of the answers in the chat template that end by themselves", intervals.share(as_chat.ended), ">="),
        claim("gained", "share of right answers that end, in the template less as plain text", gain, ">="),
        claim("shuffled", "share of answers that hold the answer of another question", intervals.share(shuffled), "<=", kind="control"),
    )
    bars = {
        f"{kind}: {what}": intervals.share(hits)
        for kind, marks in zip(KINDS, (as_text, as_chat), strict=True)
        for what, hits in (("holds the answer", marks.right), ("ends by itself", marks.ended))
    }
    caption = "Share of the questions whose reply holds the answer, and of the replies that end by themselves."
    shown = figures.bars(bars, folder.figure("answers"), caption, x_label="share")
    return Outcome(claims, (shown,), (_table(asked, as_text, as_chat),))


def _table(asked: tuple[tuple[str, tuple[str, ...]], ...], as_text: Marks, as_chat: Marks) -> Table:
    rows = [
        (question, first.strip()[:120], second.strip()[:120])
        for (question, _), first, second in zip(asked[:SHOWN], as_text.texts, as_chat.texts, strict=False)
    ]
    return Table("Replies to the first questions, cut at 120 characters.", ("question", *KINDS), tuple(rows))
