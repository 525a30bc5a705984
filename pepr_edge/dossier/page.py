"""HTML pages of a dossier: self-contained, without scripts, in light and dark, for screens and for print.

No template engine: the light install has none. Every text passes through `text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1a1f26; --soft: #58626f; --line: #d9dee5; --accent: #0a5d94;
  --tint: #eaf3f9; --bad: #a83f00; --warn: #fff6e5; --warn-line: #d98c00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161b; --card: #1b2128; --ink: #e6eaee; --soft: #a3aebb; --line: #323b46; --accent: #6fbdf0;
    --tint: #1d2f3d; --bad: #ff9257; --warn: #2d2617; --warn-line: #d98c00;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 1200px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 24px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 6px; }
p { margin: 0 0 8px; }
.soft, footer { color: var(--soft); }
footer { padding: 20px 16px 32px; font-size: .875rem; }
.you { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
caption { text-align: left; color: var(--soft); padding: 0 0 6px; }
th, td { padding: 4px 8px 4px 0; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
th, td { overflow-wrap: break-word; }
thead th { overflow-wrap: normal; border-top: 0;
  border-bottom: 2px solid var(--line); vertical-align: bottom; }
"""
PRINT = """
@media print {
  :root {
    --page: #ffffff; --card: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --accent: #0a5d94;
    --tint: #f1f5f8; --bad: #a83f00; --warn: #ffffff;
  }
  body { background: none; }
  main, header, footer { max-width: none; padding: 0; }
}
"""


def text(value: str) -> str:
    """Return a text for HTML: its content, or an attribute in quotes."""
    return html.escape(value)


def page(title: str, style: str, body: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: a text.
        style: CSS of this page, after the common one.
        body: HTML.
    """
    lines = (
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{text(title)}</title>",
        f"<style>{STYLE}{style}{PRINT}</style>",
        "</head>",
        "<body>",
        *body,
        "</body>",
        "</html>",
    )
    return "\n".join(lines) + "\n"


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], marked: Sequence[str] = ()
) -> str:
    """Return a table whose first column heads its rows.

    Args:
        caption, header: texts.
        rows: texts, as many as the header has.
        marked: names of columns whose cells are for people to fill in.
    """
    parts = [f"<table><caption>{text(caption)}</caption>", "<thead><tr>"]
    parts += [f'<th scope="col">{text(name)}</th>' for name in header]
    parts.append("</tr></thead><tbody>")
    for first, *others in rows:
        parts.append(f'<tr><th scope="row">{text(first)}</th>')
        for name, value in zip(header[1:], others, strict=True):
            kind = ' class="you"' if name in marked and value else ""
            parts.append(f'<td data-name="{text(name)}"{kind}>{text(value)}</td>')
        parts.append("</tr>")
    return "".join([*parts, "</tbody></table>"])


def definitions(items: Iterable[tuple[str, str | None]], without: str) -> str:
    """Return terms with their texts; `without` stands, marked, for a text that is missing."""
    parts = ["<dl>"]
    for name, value in items:
        kind = ' class="you"' if value is None else ""
        parts.append(f"<dt>{text(name)}</dt><dd{kind}>{text(without if value is None else value)}</dd>")
    return "".join([*parts, "</dl>"])
