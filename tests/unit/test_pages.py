"""The HTML pages that `make notebooks` writes."""

import base64
import importlib.util
import io
import re
from html import unescape
from pathlib import Path

import nbformat
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

SERIES = {"zero": "00 · Before", "one": "01 · This & that"}
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", FOLDER / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def html_of(pages, text):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    return pages.page(notebook, "one", SERIES)


@pytest.mark.parametrize("text", ["so $\\sigma^2$ it is", "$$ \\frac{1}{2} $$", "<details>\nof $r = 2^k$\n</details>"])
def test_formulas_are_drawn_without_a_script(pages, text):
    html = html_of(pages, text)
    assert "<math" in html and "$" not in html.split("<body")[1]
    assert "mathjax" not in html.lower()


def test_formulas_beside_each_other_may_go_below_each_other_and_keep_their_full_stop(pages):
    html = html_of(pages, "$$a = b, \\qquad c = d$$\n\nso $x$.").split("<body")[1]
    assert html.split('<div class="formula">')[1].split("</div>")[0].count("<math") == 2
    assert re.search(r'<span class="together"><math.*?</math>\.</span>', html, re.DOTALL)
    cases = html_of(pages, "$$\\begin{cases} a \\qquad b \\\\ c \\end{cases}$$").split("<body")[1]
    assert cases.split('<div class="formula">')[1].split("</div>")[0].count("<math") == 1


def test_a_progress_bar_is_left_out_and_a_widget_is_not(pages):
    def shown(text):
        data = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": text}
        cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
        return "A widget is here" in pages.page(nbformat.v4.new_notebook(cells=[cell]), "one", SERIES)

    assert not shown("fetching the face detector:   0%|          | 0/1 [00:00<?, ?file/s]")
    assert shown("VBox(children=(IntSlider(value=0),))")


@pytest.mark.parametrize(("width", "wide"), [(600, False), (900, True)])
def test_a_figure_too_wide_for_a_phone_keeps_its_width(pages, width, wide):
    stream = io.BytesIO()
    Image.new("RGB", (width, 10)).save(stream, "PNG")
    data = {"image/png": base64.b64encode(stream.getvalue()).decode(), "text/plain": "a figure"}
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
    html = pages.page(nbformat.v4.new_notebook(cells=[cell]), "one", SERIES)
    (picture,) = re.findall(r"<img[^>]*>", html)
    assert ('class="wide"' in picture and "--least: 720px" in picture) == wide
    assert f'width="{width}"' in picture


def test_links_to_notebooks_lead_to_pages(pages):
    html = html_of(pages, "[next](05_restorer.ipynb) [part](04_stylegan2_prior.ipynb#noise) [out](https://a.b/c.ipynb)")
    assert 'href="05_restorer.html"' in html and 'href="04_stylegan2_prior.html#noise"' in html
    assert 'href="https://a.b/c.ipynb"' in html


def test_a_page_leads_to_the_others_and_says_which_it_is(pages):
    html = html_of(pages, "text")
    assert html.count('href="index.html"') == html.count('href="zero.html" title="00 · Before">00</a>') == 2
    assert html.count('aria-current="page" href="one.html" title="01 · This &amp; that">01</a>') == 2


def test_a_page_asks_no_server_for_anything_and_can_be_dark(pages):
    html = html_of(pages, "text")
    assert not re.findall(r'(?:src|href)="https?://', html)
    assert "prefers-color-scheme: dark" in html


@pytest.mark.parametrize("path", sorted(FOLDER.glob("0*.ipynb")), ids=lambda path: path.stem)
def test_every_link_between_notebooks_leads_somewhere(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    targets = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert not [link for link in targets if not (FOLDER / link).exists()]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("0*.ipynb")), ids=lambda path: path.stem)
def test_every_formula_of_the_series_can_be_drawn(pages, path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    body = pages.page(notebook, path.stem, SERIES).split("<body")[1]
    assert "\\frac" not in body and "$" not in body


@pytest.fixture(scope="module")
def site(pages):
    """Every page of the series, from the committed notebooks, by file name."""
    paths = sorted(FOLDER.glob("0*.ipynb"))
    made = {f"{path.stem}.html": pages.page(nbformat.read(path, as_version=4), path.stem, SERIES) for path in paths}
    words = nbformat.v4.new_markdown_cell((FOLDER / "glossary.md").read_text(encoding="utf-8"))
    return made | {"glossary.html": pages.page(nbformat.v4.new_notebook(cells=[words]), "glossary", SERIES)}


def test_the_font_for_formulas_is_in_every_page_and_has_all_their_characters(pages, site):
    known = {chr(code) for code in TTFont(FOLDER / "math.woff").getBestCmap()}
    for html in site.values():
        assert pages.math_font() in html
        formulas = re.findall(r"<math.*?</math>", html.split("<body")[1], re.DOTALL)
        drawn = set(unescape("".join(re.sub(r"<[^>]*>", "", formula) for formula in formulas)))
        assert not {one for one in drawn - known if not one.isspace()}


def test_every_picture_has_words_and_no_widget_is_dead(site):
    for html in site.values():
        body = html.split("<body")[1]
        words = [re.search(r'alt="([^"]*)"', picture) for picture in re.findall(r"<img[^>]*>", body)]
        assert not [found for found in words if not found or not found[1] or "No description" in found[1]]
        assert "widget-view+json" not in body


def test_every_link_of_the_site_finds_its_page_and_anchor(site):
    stems = {f"{stem}.html" for stem in SERIES} | {"index.html"}
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', html)) for name, html in site.items()}
    for name, html in site.items():
        for link in re.findall(r'<a[^>]*\bhref="([^"]+)"', html.split("<body")[1]):
            target, _, anchor = link.partition("#")
            if re.match(r"https?://[\w.-]+(/|$)", link) or target in stems:
                continue
            assert (target or name) in site, f"{name}: {link}"
            assert not anchor or anchor in anchors[target or name], f"{name}: {link}"


class TestGlossary:
    TEXT = (FOLDER / "glossary.md").read_text(encoding="utf-8")
    ANCHORS, WORDS = zip(*re.findall(r'^<a id="([a-z0-9-]+)"></a>\*\*(.+?)\*\*', TEXT, re.MULTILINE), strict=True)

    def test_is_in_order(self):
        assert sorted(self.WORDS, key=str.lower) == list(self.WORDS) and len(self.WORDS) > 40

    def test_every_entry_has_an_anchor_and_every_link_to_one_finds_it(self):
        assert (
            len(set(self.ANCHORS))
            == len(self.ANCHORS)
            == len(re.findall(r"^.*?\*\*.+?\*\* \(\[", self.TEXT, re.MULTILINE))
        )
        texts = [path.read_text(encoding="utf-8") for path in FOLDER.glob("0*.ipynb")]
        assert not {link for text in texts for link in re.findall(r"glossary\.md#([\w-]+)", text)} - set(self.ANCHORS)

    def test_what_it_refers_to_is_there(self):
        entries = {word.strip().lower() for entry in self.WORDS for word in entry.split(",")}
        asked = {word.lower().replace("\n", " ") for word in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", self.TEXT)} - {
            "italics"
        }
        assert not {word for word in asked if not {word, word.rstrip("s")} & entries}

    def test_its_links_lead_somewhere(self):
        links = re.findall(r"\]\(([^)]+)\)", self.TEXT)
        assert links and not [link for link in links if not (FOLDER / link).exists()]
