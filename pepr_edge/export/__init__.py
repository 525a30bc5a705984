"""Make ONNX files from a trained candidate: export, variants, quality gate, and autotuning."""

__all__ = [
    "artifact",
    "check",
    "convert",
    "deployed_form",
    "export",
    "onnx_file",
    "options",
    "quantise",
    "screened",
    "select_variant",
    "untrained",
]
