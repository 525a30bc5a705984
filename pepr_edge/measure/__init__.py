"""Measuring a model, in processes of its own. Needs numpy and onnxruntime, never PyTorch.

`profile` measures one artifact in a fresh process (`worker`) by the rules of `rules`. `interleaved_profiles`
measures several in turns, each held open in its own process (`model_process`). `interleaved_timing` finds the
fastest of several files and settings. `inference_process` runs the models of bundles, within limits.
"""

__all__ = [
    "bundle_model",
    "inference_process",
    "interleaved_profiles",
    "interleaved_timing",
    "memory",
    "model_process",
    "process",
    "profile",
    "rules",
    "runtimes",
    "secondary_metrics",
    "selftest",
    "settings",
]
