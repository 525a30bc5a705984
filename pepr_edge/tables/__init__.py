"""PePR of the models in any CSV table.

csv_rows (read and write CSV) -> columns (the table as numpy arrays) -> groups (scores and what they depend
on) -> result (the table with its scores).
"""

from pepr_edge.tables.columns import MAX_IMAGES, ScoreTask
from pepr_edge.tables.csv_rows import check_out, open_table
from pepr_edge.tables.group_result import Group, Place
from pepr_edge.tables.result import BASELINE, added_columns, score_table

__all__ = [
    "BASELINE",
    "MAX_IMAGES",
    "Group",
    "Place",
    "ScoreTask",
    "added_columns",
    "check_out",
    "csv_rows",
    "open_table",
    "score_table",
]
