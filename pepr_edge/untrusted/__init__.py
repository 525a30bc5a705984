"""Validation of untrusted input (files, JSON, arrays, ONNX bytes), and removal of paths from messages."""

__all__ = ["documents", "files", "npz", "onnx_check", "paths", "read", "redact", "shown"]
