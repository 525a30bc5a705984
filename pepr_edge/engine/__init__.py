"""Where the work of a run is carried out: on this machine, or on nodes of a Ray cluster."""

__all__ = ["engine", "engines", "job", "measurement_host", "measuring", "stage_clock", "step_costs"]
