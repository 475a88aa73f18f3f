"""Pages of HTML that need no other file and no network, from templates that extend `templates/page.html`."""

from pathlib import Path

import jinja2

from gendiff.runs.reporting import formatting, json_files

TEMPLATES = Path(__file__).with_name("templates")


def write(file: Path, template: Path, **content: object) -> Path:
    """The page of a template as `file`. content: what the template takes, besides the module `formatting`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template.name).render(formatting=formatting, **content)
    return json_files.write_bytes(file, page.encode())
