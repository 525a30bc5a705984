"""The architectures of the paper (`catalogue`), and a check of each, from creation to latency (`check`)."""

from pepr_edge.zoo.catalogue import CHECK_PX, MIN_PX, Architecture, architectures, nearest

__all__ = ["CHECK_PX", "MIN_PX", "Architecture", "architectures", "check", "nearest"]
