"""The pages of a dossier: complete, self-contained, accessible, escaped."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import dossier_manifests
import pytest

from pepr_edge.dossier.changes import changes
from pepr_edge.dossier.checklists import fill
from pepr_edge.dossier.claim import CLAIM
from pepr_edge.dossier.label import TO_FILL_IN, label
from pepr_edge.dossier.tables import changes_page, checklists_page
from pepr_edge.dossier.tripod import TRIPOD
from pepr_edge.records import Manifest

VOID = {"meta", "link", "br"}


def checklists(manifest: Manifest) -> str:
    return checklists_page(manifest, {checklist: fill(checklist, manifest) for checklist in (CLAIM, TRIPOD)})


def differences(manifest: Manifest) -> str:
    older = manifest.replace(variant="older", labels=("a", "b"), decision=None)
    return changes_page(manifest, older, changes(manifest, older))


PAGES = pytest.mark.parametrize("page", [label, checklists, differences])


class Structure(HTMLParser):
    """Tags, headings and attributes of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@PAGES
@pytest.mark.parametrize("kind", ["bare", "full", "nasty"])
def test_a_page_is_whole_and_self_contained(
    page: Callable[[Manifest], str], kind: str, manifest: Manifest
) -> None:
    made = {
        "bare": manifest,
        "full": dossier_manifests.full(manifest),
        "nasty": dossier_manifests.nasty(manifest),
    }
    text = page(made[kind])
    structure = Structure(text)
    assert structure.headings[0] == "h1"
    assert structure.headings.count("h1") == 1
    assert "h3" not in structure.headings
    assert not {"script", "img", "link", "iframe"} & set(structure.tags)
    assert not {"src", "href", "onload"} & {name for name, _ in structure.attributes}
    assert structure.tags.count("table") == structure.tags.count("caption")
    assert '<html lang="en">' in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert len(text) < 150_000


def test_the_label_has_the_facts(manifest: Manifest) -> None:
    full = dossier_manifests.full(manifest)
    text = label(full)
    for expected in (
        "Not a medical device",
        "Second reader of chest images.",
        "The patient is a child.",
        "pneumonia is named from a probability of 0.310 on",
        "0.910 (0.860 to 0.960)",
        "Two radiologists, a third for ties.",
        "2027-01-31",
        full.files["model.onnx"],
        "1 %: positive 0.046, negative 0.999",
        "AMD EPYC",
        "lite0",
    ):
        assert expected in text, expected
    assert TO_FILL_IN not in text


def test_what_the_makers_do_not_say_is_left_to_the_reader(manifest: Manifest) -> None:
    assert label(manifest).count(TO_FILL_IN) == len(dossier_manifests.ABOUT.said())


def test_a_long_statement_is_cut_on_the_label_alone(manifest: Manifest) -> None:
    long = "word " * 110 + "end"
    made = manifest.replace(about=dossier_manifests.ABOUT.replace(inclusion=long))
    assert long not in label(made)
    assert "the whole text is in checklists.html" in label(made)
    assert long in checklists(made)


def test_texts_of_others_are_no_markup(manifest: Manifest) -> None:
    made = dossier_manifests.nasty(manifest)
    for page in (label, checklists):
        assert "<script>" not in page(made)
        assert "&lt;script&gt;" in page(made)
    assert "<script>" not in differences(made)
