"""PePR, metrics of performance, their intervals, and what an order depends on."""

__all__ = ["bounds", "intervals", "lifetime", "metrics", "pepr", "percentiles", "resources", "robustness"]
