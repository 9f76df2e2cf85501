"""The report as one self-contained HTML page."""

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from maquette.core.files import write_text
from maquette.lab import figures
from maquette.lab.report.contents import Plate, Section
from maquette.lab.report.prose import to_html, words

THEME = {
    figures.INK: "var(--ink)",
    figures.MUTED: "var(--muted)",
    figures.GRID: "var(--rule)",
    figures.PAPER: "var(--page)",
}


def write_page(path: Path, sections: Sequence[Section], heading: str = "") -> None:
    """Write sections as one self-contained HTML page."""
    loader = jinja2.PackageLoader("maquette.lab.report")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"prose": to_html, "words": _words}
    template = environment.get_template("report.html.j2")
    write_text(
        path,
        template.render(
            heading=heading, sections=sections, inline=_inline, recoloured=_own_colours, embedded=_embedded
        ),
    )


def _words(text: str) -> Markup:
    return to_html(words(text), {})


def _embedded(gif: bytes) -> str:
    return f"data:image/gif;base64,{base64.b64encode(gif).decode()}"


def _inline(plate: Plate) -> Markup:
    """A figure as SVG, named for who cannot see it."""
    return _own_colours(plate.draw("page"), plate.alt)


def _own_colours(svg: str, alt: str) -> Markup:
    """An SVG in the page's own colours, so that it follows light and dark."""
    svg = svg[svg.index("<svg ") :]
    for colour, variable in THEME.items():
        svg = svg.replace(colour, variable)
    return Markup(svg.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(alt), 1))
