"""The text of a reply does not depend on how tokens cut it, and ends before the stop string whose end comes first."""

import random

from gendiff.commands.serve.reply_text import ReplyText, Score
from tests.tables import table


def written(pieces, stops):
    """(text, tokens that are told, whether a stop string ended it) of a reply of these tokens; parts are whole."""
    reply, parts = ReplyText(pieces, stops), []
    for token in range(len(pieces)):
        parts.append(reply.add(Score(token, -1.0)))
        if parts[-1].stopped:
            break
    else:
        parts.append(reply.end())
    tokens = [score.token for part in parts for score in part.scores]
    return "".join(part.text for part in parts), tokens, parts[-1].stopped


def by_letters(text, stops):
    """The same text, letter by letter."""
    for end in range(1, len(text) + 1):
        if ending := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, ending))], True
    return text, False


def cut(content, rng):
    """The bytes of a text in random pieces, some of which split a character, and some of which are empty."""
    borders = sorted(rng.randrange(len(content) + 1) for _ in range(rng.randrange(6)))
    return [content[a:b] for a, b in zip([0, *borders], [*borders, len(content)], strict=True)]


@table("letters", ["ab", "aä€", "a\n"])
def test_a_reply_is_the_same_however_tokens_cut_its_text(letters):
    rng = random.Random(0)
    for _ in range(400):
        text = "".join(rng.choices(letters, k=rng.randrange(12)))
        stops = ["".join(rng.choices(letters, k=rng.randrange(1, 5))) for _ in range(rng.randrange(4))]
        pieces = cut(text.encode(), rng)
        result, tokens, stopped = written(pieces, stops)
        assert (result, stopped) == by_letters(text, stops), (text, stops, pieces)
        assert tokens == list(range(len(tokens))) and (stopped or len(tokens) == len(pieces))
        content = b"".join(pieces[: len(tokens)])
        assert content.decode("utf-8", "ignore").startswith(result) or not stopped


def test_text_is_shown_as_soon_as_it_cannot_begin_a_stop_string():
    reply = ReplyText([b"So", b"me\n", b"\nU", b"ser", b"!"], ["\n\nUser:"])
    parts = [reply.add(Score(token, 0.0)) for token in range(5)]
    assert [part.text for part in parts] == ["So", "me", "", "", "\n\nUser!"]
    assert [[score.token for score in part.scores] for part in parts] == [[0], [1], [], [], [2, 3, 4]]


def test_half_of_a_character_at_the_end_is_shown_as_such_and_a_row_without_a_token_writes_nothing():
    assert written([b"a", "€".encode()[:2]], []) == ("a�", [0, 1], False)
    reply = ReplyText([b"a"], [])
    assert reply.add(Score(7, 0.0)).text == "" and reply.end().scores[0].token == 7
