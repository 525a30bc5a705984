"""Figures, sentences and tables as people read them; below everything that formats."""
