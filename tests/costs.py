"""What each test costs, as `make test-costs` recorded it in `costs.json`, and what each chapter's share of `make test`
is.

The seconds are those of a run that found its compiled programs, as every run but the first does.
`python -m tests.costs` prints the shares.
"""

import collections
import dataclasses
import json
from pathlib import Path

COSTS = Path(__file__).with_name("costs.json")
SHORTEST = 0.1
"""Seconds. Shorter tests of a file are recorded as one sum."""
WORKERS = 2
MANY, MOST = 30.0, 45.0
"""Seconds of a folder's share of `make test`: above the first it is said, and above the second a test fails."""
STUDIES = "tests/experiments/studies"


@dataclasses.dataclass
class Costs:
    """Seconds of tests: {file: {test: seconds}}, those of slow tests apart, on the machine that is named."""

    machine: str = ""
    tests: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    slow: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls) -> "Costs":
        """As they are committed."""
        return cls(**json.loads(COSTS.read_text(encoding="utf-8"))) if COSTS.exists() else cls()

    def of(self, nodeid: str) -> float:
        """Seconds of one test; 0 where they are not known, and where they are part of a sum."""
        file, _, test = nodeid.partition("::")
        return self.tests.get(file, {}).get(test, 0.0) or self.slow.get(file, {}).get(test, 0.0)

    def shares(self) -> dict[str, float]:
        """{folder of tests/: seconds of `make test`, on its workers}, the largest first."""
        shares: collections.Counter[str] = collections.Counter()
        for file, tests in self.tests.items():
            if not file.startswith(STUDIES):
                shares[file.rpartition("/")[0]] += sum(tests.values()) / WORKERS
        return dict(shares.most_common())

    def recorded(self, seconds: dict[str, float], slow: set[str], machine: str) -> "Costs":
        """With what a run measured: {test: seconds}. The files of that run are known by it alone, and files that are
        gone are forgotten.
        """
        fresh: dict[bool, dict[str, dict[str, float]]] = {kind: collections.defaultdict(dict) for kind in (False, True)}
        for nodeid, value in sorted(seconds.items()):
            file, _, test = nodeid.partition("::")
            known = fresh[nodeid in slow][file]
            name = test if value >= SHORTEST else ""
            known[name] = round(known.get(name, 0.0) + value, 2)
        present = [
            {file: tests for file, tests in known.items() if Path(file).exists()} for known in (self.tests, self.slow)
        ]
        return Costs(
            machine,
            *(
                dict(sorted({**known, **fresh[kind]}.items()))
                for kind, known in zip((False, True), present, strict=True)
            ),
        )

    def write(self) -> None:
        """To the committed file."""
        COSTS.write_text(json.dumps(dataclasses.asdict(self), indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    costs = Costs.read()
    print(f"seconds of make test by folder, with {WORKERS} workers on {costs.machine}")
    for chapter, seconds in costs.shares().items():
        print(f"{chapter:40}{seconds:8.1f}{f'  more than {MANY:.0f}' if seconds > MANY else ''}")
    print(f"{'all':40}{sum(costs.shares().values()):8.1f}")
