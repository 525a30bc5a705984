"""Commands of a clinic: bench, predict, verify, and the checksum of a report.

Needs numpy and onnxruntime, never PyTorch.
"""

__all__ = ["bench", "predict", "report_checksum", "verify"]
