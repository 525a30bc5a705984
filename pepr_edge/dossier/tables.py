"""The checklists, and the differences of two bundles, as HTML pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pepr_edge.dossier import facts
from pepr_edge.dossier.changes import Change, caveats
from pepr_edge.dossier.checklists import BY_YOU, STATES, Answer, Checklist, counts
from pepr_edge.dossier.page import page, table, text
from pepr_edge.records import Manifest

CHECKLISTS_INTRODUCTION = (
    "What the manifest of the bundle knows of each item, and what is to be filled in by you, with the "
    "reason. The items are paraphrased: see the published checklist for their wording. The CSV files beside "
    "this page are for a spreadsheet."
)
# On a phone each cell is a line of its own, with the name of its column.
STYLE = """
.scroll { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  margin: 14px 0; }
.scroll h2 { margin-bottom: 2px; }
table { table-layout: fixed; }
th:nth-child(1) { width: 3.5em; }
.checklist th:nth-child(2) { width: 13%; }
.checklist th:nth-child(3) { width: 19%; }
.checklist th:nth-child(5) { width: 24%; }
.changes th:nth-child(1) { width: 18%; }
.changes th:nth-child(2) { width: 14%; }
.caveat { background: var(--warn); border-left: 4px solid var(--warn-line); padding: 8px 12px; }
@media (max-width: 700px) {
  thead { display: none; }
  table, tbody, tr, th, td { display: block; }
  th, td, .scroll th { border: 0; padding: 2px 0; width: auto; }
  tr { border-top: 1px solid var(--line); padding: 6px 0; }
  td:not(:empty)::before { content: attr(data-name) ": "; color: var(--soft); }
}
@page { size: A4; margin: 12mm; }
@media print {
  body { font-size: 9px; }
  h1 { font-size: 16px; }
  h2 { font-size: 12px; }
  table { font-size: 8.5px; }
  .scroll { border: 0; padding: 0; }
  tr { break-inside: avoid; }
}
"""


def checklists_page(manifest: Manifest, filled: Mapping[Checklist, Sequence[Answer]]) -> str:
    """Return the page of all checklists."""
    title = f"Reporting checklists: {facts.model_name(manifest)}"
    body = [f"<header><h1>{text(title)}</h1><p>{text(CHECKLISTS_INTRODUCTION)}</p></header>", "<main>"]
    for checklist, answers in filled.items():
        numbers = counts(answers)
        caption = ", ".join(f"{numbers[state]} {state}" for state in STATES)
        rows = [
            (answer.item.number, answer.item.section, answer.item.asks, answer.known, answer.by_you)
            for answer in answers
        ]
        header = ("item", "section", "asks for", "from the bundle", BY_YOU)
        made = table(f"{len(rows)} items: {caption}. {checklist.source}", header, rows, (BY_YOU,))
        body.append(f'<div class="scroll checklist"><h2>{text(checklist.name)}</h2>{made}</div>')
    body.append("</main>")
    return page(title, STYLE, body)


def changes_page(manifest: Manifest, older: Manifest, changes: Sequence[Change]) -> str:
    """Return the page of differences between a bundle and an older one."""
    title = f"What changed: {facts.model_name(manifest)}"
    body = [
        f"<header><h1>{text(title)}</h1><p>{text(f'Against {facts.model_name(older)}.')}</p></header>",
        "<main>",
        *(f'<p class="caveat">{text(caveat)}</p>' for caveat in caveats(manifest, older)),
    ]
    rows = [(change.what, change.subject, change.older, change.newer) for change in changes]
    header = ("what", "subject", "older", "this one")
    if rows:
        body.append(f'<div class="scroll changes">{table(f"{len(rows)} differences.", header, rows)}</div>')
    else:
        body.append("<p>Nothing that the manifests say has changed.</p>")
    body.append("</main>")
    return page(title, STYLE, body)
