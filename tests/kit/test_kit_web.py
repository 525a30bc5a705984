from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import command_line
import numpy as np
import pytest
import tiny_bundle

from pepr_edge.errors import KitError
from pepr_edge.kit import serve, web_kit, web_page, web_runtime
from pepr_edge.kit.check import PAGE
from pepr_edge.records import Decision, Manifest
from pepr_edge.run_dir.reader import read_ranking


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive in place of the published one, with its checksum; npm and the cache hold none."""
    file = tmp_path / web_runtime.FILE
    with tarfile.open(file, "w:gz") as made:
        for names in web_runtime.PROVIDERS.values():
            for name in names:
                member = tarfile.TarInfo(f"package/dist/{name}")
                member.size = len(name)
                made.addfile(member, io.BytesIO(name.encode()))
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    monkeypatch.setattr(web_runtime, "INTEGRITY", f"sha512-{digest}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    return file


def test_a_web_kit_of_a_run(
    finished: Path,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "kit"
    words = (
        "kit",
        finished,
        "--platform",
        "web",
        "--top",
        1,
        "--web-runtime",
        archive,
        "--out",
        out,
        "--json",
    )
    done = command_line.run(capsys, monkeypatch, *words)
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert (document["platform"], document["providers"], len(document["bundles"])) == ("web", ["wasm"], 1)
    assert {path.name for path in out.iterdir()} == {PAGE, "START.txt", "kit.json", "checksums.txt"}
    page = (out / PAGE).read_text(encoding="utf-8")
    assert document["page_bytes"] == len(page.encode())
    assert page.count("<script") == page.count("</script>")
    again = command_line.run(capsys, monkeypatch, *words)
    assert again.status == 0, again.err
    (out / "report.json").write_text("{}")
    refused = command_line.run(capsys, monkeypatch, *words)
    assert (refused.status, "report.json" in refused.err) == (1, True)


def test_each_candidate_comes_once_and_quantised_if_it_can(finished: Path) -> None:
    ranking = read_ranking(finished)
    first = next(row for row in ranking.rows if row.rank == 1)
    rows = (
        first.model_copy(update={"candidate": "a@32", "variant": "fp32", "rank": 1}),
        first.model_copy(update={"candidate": "b@32", "variant": "int8_static", "rank": 2}),
        first.model_copy(update={"candidate": "a@32", "variant": "int8_static", "rank": 3}),
        first.model_copy(update={"candidate": "c@32", "variant": "fp32", "rank": 4}),
        first.model_copy(update={"candidate": "d@32", "rank": None}),
    )
    chosen = web_kit.best_candidates(ranking.model_copy(update={"rows": rows}), 3)
    assert [(row.candidate, row.variant) for row in chosen.rows] == [
        ("a@32", "int8_static"),
        ("b@32", "int8_static"),
        ("c@32", "fp32"),
    ]


def test_what_a_page_holds(archive: Path, tmp_path: Path) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    page = web_page.page([bundle], web_runtime.read(("wasm", "webgpu"), archive), "2026-01-01")
    policy = page.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    script = page.partition('<script type="module">')[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' blob: 'wasm-unsafe-eval'" in policy
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    # Two files of each provider; model and logits of each form; the images of both; the description.
    assert page.count('<script type="application/octet-stream"') == 4 + 2 * 2 + 1 + 1


def test_a_decision_that_the_page_cannot_make_is_refused(
    archive: Path, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decided(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"decision": Decision(kind="argmax", positive=manifest.labels[1])})

    tiny_bundle.rewrite_manifest(own_bundle, decided)
    monkeypatch.setattr(web_page, "KINDS", ("threshold",))
    with pytest.raises(KitError, match="'argmax'"):
        web_page.page([own_bundle], {}, "2026-01-01")


def test_another_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(KitError, match="sha512 differs"):
        web_runtime.read(("wasm",), archive)
    with pytest.raises(KitError, match="cannot be read"):
        web_runtime.read(("wasm",), archive.with_name("missing.tgz"))


def test_without_npm_the_error_says_what_to_do(archive: Path) -> None:
    with pytest.raises(KitError, match="npm pack"):
        web_runtime.read(("wasm",))


def test_the_cache_serves_what_was_fetched_once(archive: Path) -> None:
    cached = web_runtime.cache_file()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(archive.read_bytes())
    assert web_runtime.read(("wasm",))["wasm"].script == web_runtime.PROVIDERS["wasm"][0].encode()


def test_the_order_of_passes_is_that_of_the_pillow_here() -> None:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (70, 11), dtype=np.uint8))
    bilinear = Image.Resampling.BILINEAR
    order = ((11, 8), (8, 8)) if web_page.tall_vertical_first() else ((8, 70), (8, 8))
    stepwise = image.resize(order[0], bilinear).resize(order[1], bilinear)
    np.testing.assert_array_equal(np.asarray(image.resize((8, 8), bilinear)), np.asarray(stepwise))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    for name in (PAGE, "START.txt", "kit.json", "secret.txt"):
        (tmp_path / name).write_text(name)
    server = serve.make_server(tmp_path, 0, lan=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_server_gives_the_page_with_the_two_headers(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, PAGE.encode())
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize("path", ["/secret.txt", "/../kit.json", "/%2e%2e/kit.json", "/kit.json"])
def test_the_server_gives_nothing_else(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    assert connection.getresponse().status == 404


def test_the_server_answers_to_its_own_names_alone(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/", headers={"Host": "elsewhere.example:80"})
    assert connection.getresponse().status == 403


def test_the_server_refuses_what_it_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="no web kit"):
        serve.make_server(tmp_path, 0, lan=False)
