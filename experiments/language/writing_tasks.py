"""What the real model is asked to write, by kind of task."""

_PASSAGES = (
    "The harbour was quiet in the early morning. Two fishermen were mending their nets while a grey cat watched them "
    "from the wall. The first boat of the day came in with its lights still burning, and the men on board were tired "
    "and happy.",
    "Bees visit flowers to collect nectar and pollen. On the way they carry pollen from one flower to the next, so "
    "that plants can make "
    "seeds. Without bees, many fruits and vegetables would be rare, and farmers would have to pollinate flowers by "
    "hand.",
    "The library opens at nine in the morning and closes at six in the evening. Members may borrow five books for "
    "three weeks. Books that "
    "come back late cost ten cents per day. The reading room on the second floor is open to everyone, and it has "
    "twelve computers.",
)
_CODE = (
    "def mean(numbers):\n    total = 0\n    for number in numbers:\n        total = total + number\n    return total / "
    "len(numbers)\n",
    "def largest(items):\n    best = items[0]\n    for item in items:\n        if item > best:\n            best = "
    "item\n    return best\n",
    "def count(text, letter):\n    n = 0\n    for each in text:\n        if each == letter:\n            n += 1\n    "
    "return n\n",
)
TASKS: dict[str, tuple[str, ...]] = {
    "copying": tuple(f"Repeat this text word by word:\n\n{passage}" for passage in _PASSAGES),
    "editing": tuple(
        f"Correct the spelling of this text and change nothing else:\n\n{passage}" for passage in _PASSAGES
    ),
    "summarising": tuple(f"Summarize this text, in its own words:\n\n{passage}" for passage in _PASSAGES),
    "code": tuple(f"Write this Python function again, with a docstring:\n\n{code}" for code in _CODE),
    "questions": ("What is the capital of France?", "How do plants make food?", "Why is the sky blue?"),
    "free text": (
        "Tell me a short story about a cat.",
        "Write a letter to a friend about your garden.",
        "Describe a town by the sea.",
    ),
}
REPEATING = ("copying", "editing", "summarising")
