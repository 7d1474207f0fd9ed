"""Data Docs: a verdict as one page for people.

Great Expectations' own pages load a dozen files from other hosts and carry the time and random ids, so they can neither
be read offline nor cached by content; this page says the same from the verdict alone.
"""

from importlib import resources
from pathlib import Path

from fieldmark.checks.verdict import Verdict
from fieldmark.core import store


def write_docs(verdict: Verdict, folder: Path) -> None:
    """Write ``folder/index.html``, headed by the folder's last two names; equal verdicts give equal bytes."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("fieldmark.checks").joinpath("page.html.j2").read_text()
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )
    with store.atomic(folder) as temporary:
        temporary.mkdir()
        (temporary / "index.html").write_text(page.render(title=f"{folder.parent.name}/{folder.name}", verdict=verdict))
