"""The architectures of the paper (`catalogue`), their weights (`pretrained`), and a check of each."""

from pepr_edge.zoo.catalogue import CHECK_PX, MIN_PX, Architecture, architectures, nearest

__all__ = ["CHECK_PX", "MIN_PX", "Architecture", "architectures", "check", "nearest", "pretrained"]
