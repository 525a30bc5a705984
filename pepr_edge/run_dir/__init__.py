"""A run directory: its files and their names, the keys of stored results, and the records read back."""

__all__ = ["keys", "layout", "outputs", "owned", "reader", "store", "training_files"]
