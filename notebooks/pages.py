"""HTML pages of executed notebooks that read alike with and without a network: formulas are MathML, not a script's."""

from __future__ import annotations

import base64
import copy
import io
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path

import nbformat
from jinja2 import FileSystemLoader, pass_context
from jinja2.runtime import Context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from PIL import Image

HERE = Path(__file__).parent
WIDE = 750  # dots; a figure so wide is unreadable on a phone's screen: there it keeps most of its width, and moves
INLINE_MATH = re.compile(r"\$([^$\n]+)\$")
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_NOTE = "<p><em>A widget is here when you run the notebook; a figure nearby shows what it does.</em></p>"
AFTER_MATH = re.compile(r"(<math[^>]*>(?:(?!</math>).)*</math>)([.,;:!?)]+)", re.DOTALL)
PROGRESS = re.compile(r"\d+/\d+ \[\d\d:\d\d<")  # as tqdm draws it
PAGE_LINK = re.compile(r'href="(?!\w+:)([^"#]+)\.(?:ipynb|md)(#[^"]*)?"')


class Renderer(IPythonRenderer):
    """Markdown to HTML, formulas as MathML, which every browser of today draws by itself."""

    def block_math(self, body: str) -> str:
        """Formulas on a line of their own, on several where the window is narrow: `\\qquad` keeps them apart."""
        parts = [body] if "\\begin" in body else body.split("\\qquad")
        return f'<div class="formula">{"".join(convert(part, display="block") for part in parts)}</div>'

    def inline_math(self, body: str) -> str:
        """A formula within a line."""
        return convert(body)

    def block_html(self, html: str) -> str:
        """HTML as it is, such as a fold; formulas in it are no Markdown, and found here."""
        return INLINE_MATH.sub(lambda found: self.inline_math(found[1]), html)


class PageExporter(HTMLExporter):
    """nbconvert's HTML by our template `page.html.j2`, with Markdown rendered by `Renderer`."""

    def __init__(self):
        super().__init__(embed_images=True, extra_loaders=[FileSystemLoader(HERE)], template_file="page.html.j2")

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Render one Markdown cell; pictures named in it are embedded."""
        path = context.get("resources", {}).get("metadata", {}).get("path", "")
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = Renderer(escape=False, attachments=attachments, embed_images=True, path=path)
        return MarkdownWithMath(renderer=renderer).render(source)


def page(notebook: nbformat.NotebookNode, name: str, series: Mapping[str, str]) -> str:
    """An executed notebook as one HTML page, whose links to other notebooks lead to their pages.

    `series`: title of every page by its name, in their order, for the links at the top and at the end.
    """
    metadata = {"name": name, "path": str(HERE)}
    resources = {"metadata": metadata, "series": dict(series), "dark_theme": dark_theme(), "math_font": math_font()}
    body, _ = PageExporter().from_notebook_node(readable(notebook), resources)
    body = AFTER_MATH.sub(r'<span class="together">\1\2</span>', body)
    return PAGE_LINK.sub(r'href="\1.html\2"', body)


def readable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy for a page: words for every figure, which `Picture` keeps as plain text, and a note for every widget.

    A progress bar, which is a widget too, says nothing when all is done, and is left out.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [
                one for one in cell.outputs if not PROGRESS.search(one.get("data", {}).get("text/plain", ""))
            ]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        data = output.get("data", {})
        mime = next((mime for mime in data if mime in ("image/png", "image/jpeg")), None)
        if WIDGET in data:
            output.data = nbformat.from_dict({"text/html": WIDGET_NOTE})
        elif mime:  # nbconvert's own template has no place for the words
            words, width = escape(data.get("text/plain", "")), output.metadata.get(mime, {}).get("width")
            width = width or pixels_across(data[mime])
            wide = f' class="wide" style="--least: {round(0.8 * width)}px"' if width >= WIDE else ""
            picture = f'<img src="data:{mime};base64,{data[mime].strip()}" alt="{words}" width="{width}"{wide}>'
            output.data = nbformat.from_dict({"text/html": picture})
    return notebook


def pixels_across(content: str) -> int:
    """Width of a picture in base64."""
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return picture.width


@cache
def math_font() -> str:
    """The font for formulas as a `data:` address; see math.LICENSE.txt."""
    return "data:font/woff;base64," + base64.b64encode((HERE / "math.woff").read_bytes()).decode()


@cache
def dark_theme() -> str:
    """JupyterLab's dark colours, as nbconvert has them, for readers whose system is dark."""
    files = (Path(folder, "static", "theme-dark.css") for folder in HTMLExporter().template_paths)
    colours = next(file for file in files if file.is_file()).read_text(encoding="utf-8")
    return f"@media (prefers-color-scheme: dark) {{ {colours} }}"
