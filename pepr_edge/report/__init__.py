"""A run as an HTML page, figures and text for a terminal."""

__all__ = ["compare_plots", "figure", "from_run", "html", "plots", "svg", "terminal"]
