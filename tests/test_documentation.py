"""The site builds without a warning and needs no network; each Python block of the pages runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): blocks
    for path in sorted({*ROOT.glob("gendiff/*/README.md"), *ROOT.glob("experiments/documentation/pages/*.md")})
    if (blocks := re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S))
}


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for number, block in enumerate(PAGES[page]):
        with jax.numpy_rank_promotion("allow"):  # as users have it
            exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_the_readme_has_one_example_of_at_most_30_lines():
    """It trains a network for a minute, so it runs where the wheel is tested."""
    (example,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(example.splitlines()) <= 30


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_nothing_on_it_is_fetched(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "experiments/documentation/mkdocs.yml", "-d", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0 and "WARNING" not in built.stderr, built.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) > 100
    assert not {
        path: found
        for path, text in pages.items()
        if (found := re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.?(?:https?:)?//[^ >]+", text))
    }
    styles = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)]*", styles)
    assert 'class="arithmatex"' not in "".join(pages.values())
