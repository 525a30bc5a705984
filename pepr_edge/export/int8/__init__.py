"""int8 for integer kernels: rewrite the graph, choose ranges, correct, search until the quality is kept."""

__all__ = ["form", "search"]
