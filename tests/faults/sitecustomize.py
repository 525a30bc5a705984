"""Give timm six architectures that fail in training, and rank the models that do not fail.

After two epochs on 48 images they have no skill; tests/ranking covers that rule.

Python imports this module at its start if the folder is on PYTHONPATH.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

FAULTS = ("raises", "nan", "segfault", "memory", "hangs", "exits")


def strike(fault: str, images: Any) -> Any:
    """Fail in the place of a forward pass."""
    import torch

    if fault == "nan":
        return (images * float("nan"),)
    if fault == "raises":
        raise ZeroDivisionError("a layer that divides by zero")
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "memory":
        torch.ones(1 << 33)  # 32 GiB
    elif fault == "hangs":
        time.sleep(3600)
    elif fault == "exits":
        os._exit(1)
    return None


def faulty(fault: str) -> Callable[..., Any]:
    """Return an architecture like timm's smallest that fails once it is trained."""
    import timm

    def create(pretrained: bool = False, **how: Any) -> Any:
        model = timm.create_model("test_efficientnet", **how)
        model.register_forward_pre_hook(
            lambda module, given: strike(fault, *given) if module.training else None
        )
        return model

    create.__name__ = f"faulty_{fault}"
    return create


if "pepr_edge" in sys.orig_argv or "pepr_edge.engine.worker_main" in sys.orig_argv:
    # A worker forks only while it has one thread.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from timm.models import register_model

    for name in FAULTS:
        register_model(faulty(name))

if "pepr_edge" in sys.orig_argv:
    from pepr_edge.ranking.skill import SkillCheck

    compare = SkillCheck.reason

    def no_reason(check: Any, row: Any) -> str:
        """Read the predictions as the rule does, and find no fault."""
        compare(check, row)
        return ""

    SkillCheck.reason = no_reason  # type: ignore[method-assign]
