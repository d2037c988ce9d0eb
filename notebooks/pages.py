"""HTML pages of executed notebooks that read alike with and without a network: formulas are MathML, not a script's."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

HERE = Path(__file__).parent
MATHJAX = re.compile(r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->", re.DOTALL)
INLINE_MATH = re.compile(r"\$([^$\n]+)\$")
NOTEBOOK_LINK = re.compile(r'href="(?!\w+:)([^"#]+)\.ipynb(#[^"]*)?"')


class Renderer(IPythonRenderer):
    """Markdown to HTML, formulas as MathML, which every browser of today draws by itself."""

    def block_math(self, body: str) -> str:
        """A formula on a line of its own."""
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        """A formula within a line."""
        return convert(body)

    def block_html(self, html: str) -> str:
        """HTML as it is, such as a fold; formulas in it are no Markdown, and found here."""
        return INLINE_MATH.sub(lambda found: self.inline_math(found[1]), html)


class PageExporter(HTMLExporter):
    """nbconvert's HTML, rendered by `Renderer`, without MathJax from a server."""

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Render one Markdown cell; pictures named in it are embedded."""
        path = context.get("resources", {}).get("metadata", {}).get("path", "")
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = Renderer(escape=False, attachments=attachments, embed_images=True, path=path)
        return MarkdownWithMath(renderer=renderer).render(source)


def page(notebook: nbformat.NotebookNode, name: str) -> str:
    """An executed notebook as one HTML page, whose links to other notebooks lead to their pages."""
    body, _ = PageExporter(embed_images=True).from_notebook_node(
        notebook, {"metadata": {"name": name, "path": str(HERE)}}
    )
    return NOTEBOOK_LINK.sub(r'href="\1.html\2"', MATHJAX.sub("", body))
