"""A report as one self-contained HTML file, which needs no network and no other files."""

import dataclasses
import pathlib

import jinja2

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

    One that `is_wide` has a row of its own.
    """

    description: str
    light: str
    dark: str
    data: str
    is_wide: bool = False


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


def picture(description, draw):
    """Returns the `Picture` of a figure that `draw()` draws."""
    figure = draw()
    is_wide = figure.get_figwidth() > drawing.PANEL_INCHES[0]
    return Picture(description, *drawing.data_uris(figure), plot_data.csv_uri(figure), is_wide)


def write(path, title, lead, sections):
    """Writes a report to a file, with every text escaped.

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
    template = environment.get_template("report.html.jinja")
    results.write_text(path, template.render(title=title, lead=lead, sections=sections))
