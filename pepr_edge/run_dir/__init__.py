"""A run directory: its files and their names, the keys of stored results, and the records read back."""

__all__ = [
    "current",
    "decisions",
    "keys",
    "layout",
    "outputs",
    "owned",
    "reader",
    "spent",
    "store",
    "training_files",
    "variant_figures",
]
