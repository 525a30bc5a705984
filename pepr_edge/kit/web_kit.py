"""Make a web kit: one HTML file that checks, uses and measures a run's best models in any browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pepr_edge import __version__
from pepr_edge.bundle.best import check_any_ranked, warnings_of
from pepr_edge.bundle.write import write_bundles
from pepr_edge.kit import web_page, web_runtime
from pepr_edge.kit.check import PAGE, START
from pepr_edge.kit.install import KIT
from pepr_edge.kit.make import HERE, Progress, check_replaceable, put_in_place, write_checksums
from pepr_edge.recipe import FLOAT32
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.run_dir.owned import staging_folder
from pepr_edge.run_dir.reader import load, read_ranking
from pepr_edge.run_dir.store import write_text
from pepr_edge.signing.key_files import Signer

PLATFORM = "web"
START_TEMPLATE = "START_web.txt"


class WebKit(NamedTuple):
    """A finished web kit: names of the bundles inside, size of the page and of all files, warnings."""

    folder: Path
    providers: tuple[str, ...]
    bundles: tuple[str, ...]
    page_bytes: int
    size_bytes: int
    warnings: tuple[str, ...]


def make(
    run_dir: Path,
    out: Path,
    *,
    top: int,
    progress: Progress,
    webgpu: bool = False,
    runtime_file: Path | None = None,
    signer: Signer | None = None,
) -> WebKit:
    """Make a web kit of a run's best models, each in float32 and int8 where the run has both.

    Args:
        run_dir: a finished run.
        out: the folder; a kit in it is replaced.
        top: number of models (candidates).
        progress: called before each step.
        webgpu: include the runtime for graphics processors, too.
        runtime_file: the archive of the runtime; None: that of the cache, or from npm.
        signer: signs the list of checksums; None: nobody does.
    Raises:
        RunError: the run has no ranked model.
        KitError: `out` holds something else, the runtime is not to be had, or a model cannot be used there.
    """
    out = out.resolve()
    check_replaceable(out)
    providers = ("wasm", "webgpu") if webgpu else ("wasm",)
    with staging_folder(out) as folder, TemporaryDirectory() as scratch:
        progress(0, 3, "runtime")
        runtime = web_runtime.read(providers, runtime_file)
        progress(1, 3, "models")
        results = load(run_dir)
        ranking = read_ranking(run_dir)
        chosen = best_candidates(ranking, top)
        check_any_ranked(chosen, run_dir)
        written = write_bundles(results, chosen, Path(scratch) / "bundles")
        bundles = [Path(scratch) / row.bundle for row in written.rows if row.bundle]
        progress(2, 3, PAGE)
        write_text(folder / PAGE, web_page.page(bundles, runtime, _today()))
        write_text(folder / START, (HERE / START_TEMPLATE).read_text(encoding="utf-8"))
        _write_description(folder, providers)
        page_bytes = (folder / PAGE).stat().st_size
        size_bytes = write_checksums(folder, signer)
        put_in_place(folder, out)
    names = tuple(bundle.name for bundle in bundles)
    return WebKit(out, providers, names, page_bytes, size_bytes, warnings_of(ranking, len(bundles), top))


def best_candidates(ranking: Ranking, top: int) -> Ranking:
    """Return a ranking of the best `top` candidates, each with one row.

    It is the best row of another variant than float32, if there is one: its bundle brings float32 as the
    fallback, and the page finds out which of the two is faster in that browser.
    """
    by_candidate: dict[str, list[RankingRow]] = {}
    for row in ranking.rows:
        if row.rank is not None:
            by_candidate.setdefault(row.candidate, []).append(row)
    rows = list(_best_rows(by_candidate, top))
    return ranking.model_copy(update={"rows": tuple(rows)})


def _best_rows(by_candidate: dict[str, list[RankingRow]], top: int) -> Iterator[RankingRow]:
    for rows in list(by_candidate.values())[:top]:
        yield next((row for row in rows if row.variant != FLOAT32), rows[0])


def _write_description(folder: Path, providers: tuple[str, ...]) -> None:
    document = {
        "pepr_edge": __version__,
        "platform": PLATFORM,
        "runtime": f"{web_runtime.PACKAGE} {web_runtime.VERSION}",
        "providers": list(providers),
    }
    write_text(folder / KIT, json.dumps(document, indent=1) + "\n")


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()
