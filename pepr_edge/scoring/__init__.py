"""PePR, metrics of performance, their intervals, and what an order depends on."""
