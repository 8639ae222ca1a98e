"""A report as one self-contained HTML file, which needs no network and no other files."""

import dataclasses
import pathlib

import jinja2
import matplotlib.figure

from experiments.reports import drawing, plot_data
from experiments.runs import results

TEMPLATES = pathlib.Path(__file__).parent / "templates"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of strings; the first `text_columns` columns are text, the others numbers."""

    header: tuple
    rows: list
    text_columns: int = 1


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure on white and on dark, and its numbers as CSV; and what it shows, in words.

    One that `is_wide` has a row of its own. One with a `file` name is also written as files.
    """

    description: str
    light: str
    dark: str
    data: str
    is_wide: bool = False
    file: str | None = None
    figure: matplotlib.figure.Figure | None = None


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a report. Empty fields are not shown.

    Args:
        title: The heading.
        paragraphs: Plain texts.
        terms: Terms and what they mean.
        table: A `Table`.
        pictures: A list of `Picture`.
        names: Names and values, such as a configuration.
    """

    title: str
    paragraphs: tuple = ()
    terms: dict = dataclasses.field(default_factory=dict)
    table: Table | None = None
    pictures: tuple = ()
    names: dict = dataclasses.field(default_factory=dict)


def provenance(configuration, environment):
    """Returns the last sections of every report: configuration, versions and machine."""
    names = {key: _text(value) for key, value in configuration.items()}
    return (
        Section("Configuration", names=names),
        Section("Versions and machine", names=environment),
    )


def _text(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return "not set" if value is None else str(value)


def picture(description, draw, file=None):
    """Returns the `Picture` of a figure that `draw()` draws."""
    drawn = draw()
    is_wide = drawn.get_figwidth() > drawing.PANEL_INCHES[0]
    uris = drawing.data_uris(drawn), plot_data.csv_uri(drawn)
    return Picture(description, *uris[0], uris[1], is_wide, file, drawn)


def pictures(figures, describe):
    """Returns a `Picture` of each of `{file name: draw()}`, described by a function of the name."""
    return tuple(picture(describe(name), draw, name) for name, draw in figures.items())


def write(path, title, lead, sections):
    """Writes a report to a file, with every text escaped, and its pictures' files beside it.

    Args:
        path: The HTML file to write.
        title: The title of the page.
        lead: One sentence below the title.
        sections: A list of `Section`, shown in this order.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for section in sections:
        for each in section.pictures:
            if each.file is not None:
                drawing.write_images(each.figure, path.parent, each.file)
    template = environment.get_template("report.html.jinja")
    results.write_text(path, template.render(title=title, lead=lead, sections=sections))
