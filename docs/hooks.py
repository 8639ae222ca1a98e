r"""What MkDocs does beside its themes: files from elsewhere in the repository, and formulas.

Pages link to `../experiments/results/paper/half_widths.png` or `../examples/two_optimizers.py`, so
that links work where the repository is read, too. For the site, these files are copied into
`repository/`, text with `.txt` behind its name, and the links changed. Formulas become MathML when
the site is built, which browsers show without a script or a font of their own.
"""

import html
import pathlib
import posixpath
import re

from latex2mathml import converter
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

FOLDER = "repository"
LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)(?=[)#])")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)


def on_files(files, config):
    """Adds the files of the repository that pages link to."""
    root = pathlib.Path(config.config_file_path).parent
    for page in files.documentation_pages():
        for link in LINK.findall(page.content_string):
            source = root / _path(page, link)
            if not source.is_file():
                raise PluginError(f"{page.src_uri} links to {link}, which is no file")
            name = _name(_path(page, link))
            if files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Changes links to such files."""

    def change(match):
        name = _name(_path(page.file, match[1]))
        return posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(change, markdown)


def on_page_content(content, page, config, files):
    """Makes MathML of the formulas that `pymdownx.arithmatex` has found."""

    def convert(match):
        display = "block" if match[1] == "div" else "inline"
        formula = converter.convert(html.unescape(match[2]), display=display)
        return f'<div class="formula">{formula}</div>' if display == "block" else formula

    content = FORMULA.sub(convert, content)
    if "arithmatex" in content:
        raise PluginError(f"{page.file.src_uri} has a formula that was not converted")
    return content


def _path(page, link):
    """Returns the path from the root of the repository."""
    return posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.src_uri), link))


def _name(path):
    suffix = "" if path.endswith((".png", ".svg", ".csv", ".json")) else ".txt"
    return f"{FOLDER}/{path}{suffix}"
