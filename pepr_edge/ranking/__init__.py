"""Results -> Ranking: every artifact of a run with its resources, scores and rank, or why it has no rank."""

from pepr_edge.ranking.certain_places import Places, certain_places, places_of
from pepr_edge.ranking.csv_text import to_csv
from pepr_edge.ranking.rank import rank
from pepr_edge.ranking.reports import of_bench, read_reports
from pepr_edge.ranking.row import over_budget
from pepr_edge.ranking.skill import lowest_skilled, too_few_images

__all__ = [
    "Places",
    "certain_places",
    "lowest_skilled",
    "of_bench",
    "over_budget",
    "places_of",
    "rank",
    "read_reports",
    "to_csv",
    "too_few_images",
]
