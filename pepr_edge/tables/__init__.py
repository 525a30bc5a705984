"""PePR on any CSV, as a stream: one pass for the bounds, one for the scores. Memory goes with the groups and the chunk, not with the rows.

csv_rows -> bounds_pass (first pass: bounds by group) -> score_pass (second pass: the best and what they hang on) -> stream (both, and the
file).

Rank intervals are the exception: they rest on all models of a group, so performance, R and images of each row are kept for them. So is what
a winner depends on (dependence), which is computed for small tables alone.

A group is known by its bounds rather than by its members: its set id is a hash of its name, its number of rows, and of each resource its
bounds and method, which is all that a score depends on beside the model itself.
"""

from pepr_edge.tables.bounds_pass import ScoreTask
from pepr_edge.tables.csv_rows import check_out, open_table
from pepr_edge.tables.score_pass import Group
from pepr_edge.tables.stream import BASELINE, added_columns, score_table

__all__ = [
    "BASELINE",
    "Group",
    "ScoreTask",
    "added_columns",
    "bounds_pass",
    "check_out",
    "csv_rows",
    "open_table",
    "score_table",
]
