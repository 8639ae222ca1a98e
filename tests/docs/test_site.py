"""The built guide opens in a browser, wide and narrow, without an error and without overflow."""

import html
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs")
ROOT = pathlib.Path(__file__).parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (1300, 400)
# Each page tells the one around it how wide it is, and which pictures it lacks.
TELL = """<script>addEventListener('load', () => setTimeout(() => parent.postMessage({
  page: location.pathname.split('/').pop(), width: document.documentElement.clientWidth,
  needed: document.documentElement.scrollWidth,
  broken: [...document.images].filter(i => !i.naturalWidth).map(i => i.src)
}, '*'), 500))</script>"""
HEAR = """<title>-</title><script>const heard = []; addEventListener('message', e => {
  if (e.data.page) heard.push(e.data); document.title = JSON.stringify(heard)})</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir"]
    subprocess.run([*command, directory], cwd=ROOT, check=True)
    return directory


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_pages_open_without_an_error_or_overflow(site):
    pages = sorted(page for page in site.glob("*.html") if page.name != "404.html")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("</body>", TELL + "</body>"), encoding="utf-8")
    frames = "".join(
        f'<iframe src="{page.name}" width={width} height=800></iframe>'
        for page in pages
        for width in WIDTHS
    )
    (site / "all.html").write_text(HEAR + frames, encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    options += ["--allow-file-access-from-files", "--virtual-time-budget=20000", "--dump-dom"]
    shown = subprocess.run(
        [CHROMIUM, *options, (site / "all.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    heard = json.loads(html.unescape(re.search("<title>(.*?)</title>", shown.stdout)[1]))
    assert sorted(told["page"] for told in heard) == sorted(2 * [page.name for page in pages])
    assert [told for told in heard if told["needed"] > told["width"] or told["broken"]] == []
    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line] == []
