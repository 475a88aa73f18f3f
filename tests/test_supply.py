"""The lock covers what pyproject.toml requires, by hashes and from no index, and every extra has its licences."""

import re
import subprocess
import tomllib

import packaging.requirements
import pytest

from experiments.documentation import licences_page
from experiments.documentation.licences_page import LOCK, ROOT, extras, locked, name_of

NOT_LOCKED = {"log", "cuda12", "cuda13", "tpu", "peers"}
"""Extras of which `make setup` installs nothing."""


def versions():
    return {
        name_of(line): line.split("==")[1].split()[0]
        for line in LOCK.read_text(encoding="utf-8").splitlines()
        if re.match("[a-zA-Z0-9]", line)
    }


def test_the_lock_holds_pinned_versions_with_hashes_and_names_no_index():
    text = LOCK.read_text(encoding="utf-8")
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.+!-]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
    assert versions().keys() == locked().keys() and all(locked().values())
    assert "://" not in text


def test_the_lock_meets_every_requirement_of_the_package_its_tests_and_its_build():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, chosen = pyproject["project"], versions()
    groups = [lines for extra, lines in project["optional-dependencies"].items() if extra not in NOT_LOCKED]
    for line in {*pyproject["build-system"]["requires"], *project["dependencies"], *sum(groups, [])}:
        requirement = packaging.requirements.Requirement(line)
        if requirement.name != "gendiff":
            assert requirement.specifier.contains(chosen[name_of(requirement.name)], prereleases=True), line


def test_make_installs_by_hashes_only_where_that_is_asked_for():
    def commands(*words):
        output = subprocess.run(["make", "-n", "-B", "setup", *words], cwd=ROOT, capture_output=True, text=True)
        return output.stdout

    locked, newest = commands("LOCKED=1", "VENV=none"), commands("VENV=none")
    assert "--require-hashes -r .ci/locked-3.13.txt" in locked and "--require-hashes" not in newest
    assert "sys.version_info[:2] != (3, 13)" in locked and "sys.version_info < (3, 11)" in newest


def test_the_page_of_licences_has_every_package_that_an_extra_names():
    text = licences_page.PAGE.read_text(encoding="utf-8")
    for extra, names in extras().items():
        part = text.split(f"## `gendiff[{extra}]`\n" if extra else "## What every installation has\n")[1].split(
            "\n## "
        )[0]
        assert re.findall(r"^\| ([\w-]+) \| [^|]+ \|", part, re.MULTILINE)[1:] == names, extra
    assert "GPL-3.0" in text and "CC-BY-SA-4.0" in text


def test_a_package_without_a_known_licence_is_an_error():
    with pytest.raises(ValueError, match="no-such-package is not installed"):
        licences_page.licence("no-such-package")
