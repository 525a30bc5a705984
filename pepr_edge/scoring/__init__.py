"""PePR, performance metrics and their intervals, and the robustness of a ranking."""

__all__ = [
    "bounds",
    "chance",
    "fair_cost",
    "file_figures",
    "findings",
    "intervals",
    "learning_curve",
    "lifetime",
    "metrics",
    "multilabel_metrics",
    "operating_point",
    "pepr",
    "percentiles",
    "refer",
    "resampling",
    "resources",
    "robustness",
    "rule",
    "stand_in",
    "subgroups",
]
