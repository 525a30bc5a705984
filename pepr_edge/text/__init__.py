"""Figures, sentences and tables as people read them; below everything that formats."""

__all__ = ["robustness", "sentences", "tables", "units"]
