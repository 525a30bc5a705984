"""A run directory: files written whole, the keys of their inputs, and the records read back."""

__all__ = ["keys", "reader", "store", "training_files"]
