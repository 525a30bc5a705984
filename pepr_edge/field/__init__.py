"""Commands of a clinic: bench, evaluate, predict, verify, and the checksum of a report.

Needs numpy and onnxruntime, never PyTorch.
"""

__all__ = ["bench", "evaluate", "labelled", "predict", "report_checksum", "verify"]
