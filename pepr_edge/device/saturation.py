"""int8 saturation: on an x86 processor without VNNI instructions the logits of an int8 file change.

Such a processor adds two neighbouring products of 8-bit numbers in 16 bits, and cuts the sum off if it does
not fit. Source: ONNX Runtime, "Quantize ONNX models", on U8S8 on AVX2 and AVX512.
"""

from __future__ import annotations

import platform
import sys

from pepr_edge.device.cpu import isa

X86 = {"x86_64", "amd64", "i686", "i386", "x86"}
VNNI = {"avx512_vnni", "avx_vnni"}


def explanation(variant: str) -> str:
    """Explain why an int8 model fails its self-test here though its float32 fallback passes.

    Returns:
        A sentence; empty if saturation is not the reason. Only Linux tells whether the processor has VNNI; on
        other systems it is most likely missing.
    """
    if not variant.startswith("int8") or platform.machine().lower() not in X86:
        return ""
    flags = set(isa())
    flags_are_known = sys.platform == "linux" and bool(flags)
    # Without AVX2 the runtime computes in another way, without overflow.
    if flags & VNNI or (flags_are_known and "avx2" not in flags):
        return ""
    has = "has" if flags_are_known else "most likely has"
    return (
        f"int8 saturation: this CPU {has} no VNNI instructions, "
        "so that sums of 8-bit products overflow their 16 bits."
    )
