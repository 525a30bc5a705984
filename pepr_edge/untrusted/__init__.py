"""Validation of untrusted input: files, JSON, arrays, ONNX bytes; and paths taken out of messages."""

__all__ = ["documents", "npz", "onnx_check", "redact"]
