"""How a model is measured, in processes of their own. Needs numpy and onnxruntime, never PyTorch.

`profile` measures one artifact in a fresh child process (`worker`) by the rules of `rules`. `interleaved_timing` says which of several
files and settings is the fastest, each held open in a process of its own (`model_process`, `model_process_main`).
"""

__all__ = [
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
