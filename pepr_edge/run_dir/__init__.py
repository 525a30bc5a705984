"""A run directory: files written whole, the keys of their inputs, and the records read back."""

__all__ = ["keys", "layout", "owned", "reader", "store", "training_files"]
