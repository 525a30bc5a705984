"""The worker of tests' runs: it measures training steps briefly."""

from __future__ import annotations

from pepr_edge.engine import fork_safety, worker_main

if __name__ == "__main__":
    with fork_safety.single_threaded_blas():
        from pepr_edge.train import step_cost
    step_cost.BLOCK_S = 0.02
    worker_main.main()
