"""What is done to pages and docstrings when the guide is built."""

import importlib.util
import pathlib
import types

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs")
DOCS = pathlib.Path(__file__).parents[2] / "docs"


def _load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks, docstrings = _load("hooks"), _load("docstrings")
PAGE = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="index.md"))


def test_links_out_of_the_guide_lead_to_copies():
    text = "![a](../experiments/a.png) [b](../b.py#top) [c](c.md) `](../d`"
    assert hooks.on_page_markdown(text, PAGE, None, None) == (
        "![a](repository/experiments/a.png) [b](repository/b.py.txt#top) [c](c.md) `](../d`"
    )


def test_a_link_to_no_file_is_refused():
    page = types.SimpleNamespace(src_uri="index.md", content_string="[a](../absent.png)")
    files = types.SimpleNamespace(documentation_pages=lambda: [page])
    config = types.SimpleNamespace(config_file_path=str(DOCS.parent / "mkdocs.yml"))
    with pytest.raises(hooks.PluginError, match=r"index.md links to ../absent.png"):
        hooks.on_files(files, config)


def test_formulas_become_mathml():
    content = r'<p><span class="arithmatex">\(a &lt; b\)</span></p>'
    found = hooks.on_page_content(content, PAGE, None, None)
    assert found.startswith("<p><math")
    assert "<mo>&#x0003C;</mo>" in found
    block = '<div class="arithmatex">\n\\[\\sum_n g^n\\]</div>'
    assert 'display="block"' in hooks.on_page_content(block, PAGE, None, None)


def test_a_formula_that_is_left_is_refused():
    with pytest.raises(hooks.PluginError, match="a formula that was not converted"):
        hooks.on_page_content('<i class="arithmatex">x</i>', PAGE, None, None)


def test_examples_in_docstrings_become_blocks():
    text = "Adds.\n\nExample:\n\n>>> 1 + 1\n2\n\nSource: arithmetic."
    assert docstrings.fenced(text) == (
        "Adds.\n\nExample:\n\n```pycon\n>>> 1 + 1\n2\n```\n\nSource: arithmetic."
    )
