"""Put the page of a web kit together: one HTML file with its scripts, the runtime and the models inside.

The page may load nothing and send nothing: its Content Security Policy allows its own script and style by
their hashes, and what that script makes in memory. All that comes from a bundle is inside compressed blocks,
so no label can end a block early.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import pepr_edge.web
from pepr_edge import __version__
from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import KitError
from pepr_edge.kit import web_runtime
from pepr_edge.kit.web_runtime import ProviderFiles
from pepr_edge.measure import selftest
from pepr_edge.records import Manifest
from pepr_edge.untrusted import npz
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import MIB, content
from pepr_edge.untrusted.onnx_check import MODEL_BYTES

WEB = Path(pepr_edge.web.__file__).parent
FRAME = "frame.html"
STYLE = "style.css"
TEXTS = "texts"
ENGLISH = "en"
MAIN = "page"
# The decisions that the page can make.
KINDS = ("argmax", "threshold", "median", "thresholds")
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z_]+)\.mjs";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
# Level 9 takes a second for the runtime, once for each kit.
GZIP_LEVEL = 9


class Blocks:
    """The data blocks of a page."""

    def __init__(self) -> None:
        self.html: list[str] = []

    def add(self, data: bytes) -> dict[str, Any]:
        """Add an asset, and return how the page refers to it."""
        name = f"asset-{len(self.html)}"
        self.html.append(block(name, data))
        return {"id": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def block(name: str, data: bytes) -> str:
    """Return a data block, which no browser runs: gzip in base64."""
    packed = base64.b64encode(gzip.compress(data, GZIP_LEVEL, mtime=0)).decode()
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>\n'


def page(bundles: Iterable[Path], runtime: Mapping[str, ProviderFiles], made: str) -> str:
    """Return the page.

    Args:
        bundles: folders of bundles that are whole.
        runtime: the files of each provider.
        made: the day, for the report.
    Raises:
        KitError: a bundle decides in a way that the page cannot.
    """
    blocks = Blocks()
    providers = {}
    for name, files in runtime.items():
        providers[name] = {"script": blocks.add(files.script), "wasm": blocks.add(files.wasm)}
    forms: list[dict[str, Any]] = []
    for bundle in bundles:
        forms += _forms(bundle, blocks)
    kit = {
        "version": __version__,
        "runtime": web_runtime.VERSION,
        "made": made,
        "providers": providers,
        "forms": forms,
    }
    blocks.html.append(block("kit", json.dumps(kit).encode()))
    blocks.html.append(_texts_block())
    return _filled(script(), "".join(blocks.html))


def texts() -> dict[str, dict[str, Any]]:
    """Return the tables of the page's texts by language, English first."""
    paths = sorted((WEB / TEXTS).glob("*.json"), key=lambda path: (path.stem != ENGLISH, path.stem))
    return {path.stem: json_document(content(path, MIB)) for path in paths}


def _texts_block() -> str:
    """Return the texts as a block that is not compressed: a browser that cannot unpack is told so in them."""
    document = json.dumps(texts()).replace("<", "\\u003c")
    return f'<script type="application/json" id="{TEXTS}">{document}</script>\n'


def _paragraphs(key: str) -> str:
    """Return a text in all languages, for where no script chooses one."""
    return "".join(
        f'<p lang="{code}">{html.escape(str(table[key]))}</p>\n' for code, table in texts().items()
    )


def script() -> str:
    """Return the script of the page: each module as a function, after all those that it imports from."""
    parts: dict[str, str] = {}
    _collect(MAIN, parts)
    return "".join(parts.values())


def _collect(name: str, parts: dict[str, str]) -> None:
    """Add a module to the parts of the script, after all that it imports from."""
    text = (WEB / f"{name}.mjs").read_text(encoding="utf-8")
    for _, imported in IMPORT.findall(text):
        if imported not in parts:
            _collect(imported, parts)
    body = EXPORT.sub("", IMPORT.sub(r"const \1 = \2_module;\n", text))
    exported = ", ".join(EXPORT.findall(text))
    parts[name] = f"const {name}_module = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def _filled(code: str, blocks: str) -> str:
    """Return the frame with script, style, the policy that allows them, and the blocks."""
    style = (WEB / STYLE).read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(code)}' blob: 'wasm-unsafe-eval'",
            f"style-src '{_hash(style)}'",
            "img-src blob: data:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    parts = {"policy": policy, "style": style, "script": code, "blocks": blocks}
    parts |= {"starting": _paragraphs("starting"), "noscript": _paragraphs("noScript")}
    frame = (WEB / FRAME).read_text(encoding="utf-8")
    # Split at the names: what is filled in is not looked at again.
    pieces = re.split(r"\{\{(\w+)\}\}", frame)
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _forms(bundle: Path, blocks: Blocks) -> list[dict[str, Any]]:
    """Return the description of a bundle's model, and of its fallback if it has one."""
    manifest = read_manifest(bundle)
    with npz.opened(bundle / selftest.FILE) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
    arrays = npz.arrays(bundle / selftest.FILE, names)
    pixels = blocks.add(arrays[selftest.PIXELS].tobytes())
    forms = [_form(bundle, manifest, arrays, pixels, blocks, fallback=False)]
    if manifest.fallback is not None:
        forms.append(_form(bundle, manifest, arrays, pixels, blocks, fallback=True))
    return forms


def _form(
    bundle: Path,
    manifest: Manifest,
    arrays: Mapping[str, np.ndarray],
    pixels: Mapping[str, Any],
    blocks: Blocks,
    *,
    fallback: bool,
) -> dict[str, Any]:
    document = manifest.model_dump(mode="json")
    part: dict[str, Any] = document["fallback"] if fallback else document
    decision = part.get("decision")
    _check_kind(bundle, decision)
    prefix = "fallback_" if fallback else ""
    refer = (decision or {}).get("refer") or {}
    has_novelty = refer.get("max_novelty") is not None
    test = {
        "n": part["selftest"]["n"],
        "tolerance": part["selftest"]["tolerance"],
        "pixels": pixels,
        "logits": blocks.add(arrays[f"{prefix}{selftest.LOGITS}"].astype("<f4").tobytes()),
        "novelty": blocks.add(arrays[f"{prefix}novelty"].astype("<f4").tobytes()) if has_novelty else None,
    }
    file = part["file"] if fallback else "model.onnx"
    return {
        "bundle": bundle.name,
        "architecture": f"{manifest.architecture}@{manifest.image_size_px}",
        "variant": part["variant"],
        "labels": document["labels"],
        "preprocess": {**document["preprocess"], "tall_vertical_first": tall_vertical_first()},
        "input": document["input"]["name"],
        "output": document["output"]["name"],
        "novelty": document["novelty"]["name"] if has_novelty else None,
        "decision": decision,
        "isFallback": fallback,
        "performanceMetric": manifest.performance_metric,
        "subgroups": [column.column for column in manifest.subgroups],
        "model": blocks.add(content(bundle / file, MODEL_BYTES)),
        "selftest": test,
    }


def _check_kind(bundle: Path, decision: Mapping[str, Any] | None) -> None:
    """Refuse a bundle whose decisions the page cannot make."""
    if decision is not None and decision["kind"] not in KINDS:
        raise KitError(
            f"{bundle.name}: its decisions are of the kind {decision['kind']!r}, "
            f"expected one that the page can make ({', '.join(KINDS)}). Make a kit for another --platform."
        )


def tall_vertical_first() -> bool:
    """True if the installed Pillow resizes a tall image along its height first, as later versions do.

    Both passes round to 8 bits, so their order shows in the last bit. The page does as the Pillow here.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (64, 9), dtype=np.uint8)
    image = Image.fromarray(pixels)
    bilinear = Image.Resampling.BILINEAR
    at_once = np.asarray(image.resize((8, 8), bilinear))
    return bool((at_once == np.asarray(image.resize((9, 8), bilinear).resize((8, 8), bilinear))).all())
