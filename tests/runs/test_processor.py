"""What the processor is and can do, read from the system's file."""

from gendiff.runs.reporting import environment, processor
from tests.tables import table

FACTS = (
    "processor\t: 0",
    "vendor_id\t: GenuineIntel",
    "cpu family\t: 6",
    "model\t\t: 207",
    "model name\t: A CPU",
    "flags\t\t: fpu sse2",
    "",
)
XEON = "\n".join((*FACTS, "processor\t: 1", ""))


@table(
    ("text", "name", "vendor", "flags"),
    [
        (XEON, "A CPU, family 6, model 207", "Intel", {"fpu", "sse2"}),
        (
            XEON.replace("GenuineIntel", "AuthenticAMD").replace("model\t", "x\t"),
            "A CPU, family 6",
            "AMD",
            {"fpu", "sse2"},
        ),
        ("processor\t: 0\nFeatures\t: fp asimd\n", "", "", {"fp", "asimd"}),
        (None, "", "", set()),
    ],
)
def test_name_maker_and_instructions_are_those_of_the_first_core(monkeypatch, tmp_path, text, name, vendor, flags):
    monkeypatch.setattr(processor, "INFO", tmp_path / "info")
    if text is not None:
        processor.INFO.write_text(text, encoding="utf-8")
    assert (processor.name(), processor.vendor(), processor.flags()) == (name, vendor, flags)
    assert environment.machine()["cpu"] == name or not name and environment.machine()["cpu"]
