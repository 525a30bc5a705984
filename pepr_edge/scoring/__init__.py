"""PePR, performance metrics and their intervals, and the robustness of a ranking."""

__all__ = [
    "bounds",
    "chance",
    "fair_cost",
    "file_figures",
    "intervals",
    "lifetime",
    "metrics",
    "operating_point",
    "pepr",
    "percentiles",
    "resources",
    "robustness",
    "rule",
    "stand_in",
    "subgroups",
]
