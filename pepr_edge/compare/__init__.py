"""Compare two runs, or two sets of published results: does pretraining, more data or a larger model pay off?

load (runs, published) -> pairs -> findings -> answer -> terminal, files. Questions and t-test: Selvan et al.,
NLDL 2025.
"""

from pepr_edge.compare.answer import compare
from pepr_edge.compare.files import write
from pepr_edge.compare.load import read
from pepr_edge.compare.pairs import pair
from pepr_edge.compare.terminal import text

__all__ = ["compare", "pair", "read", "text", "write"]
