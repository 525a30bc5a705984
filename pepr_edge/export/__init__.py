"""From a trained candidate to its ONNX files: export, variants, quality, and the choice among them by measuring."""

__all__ = [
    "artifact",
    "check",
    "convert",
    "export",
    "onnx_file",
    "options",
    "quantise",
    "select_variant",
    "untrained",
]
