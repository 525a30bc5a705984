"""Numbers, sentences and terminal tables for people; below everything that formats."""

__all__ = ["robustness", "rows", "sentences", "sites", "subgroups", "tables", "units", "weights"]
