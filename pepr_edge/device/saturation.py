"""int8 saturation: the logits of an int8 file change on an x86 processor without VNNI instructions.

Without them a product of unsigned and signed 8-bit numbers is added to its neighbour in 16 bits, and the sum
is cut off if it does not fit. Source: ONNX Runtime, "Quantize ONNX models", on U8S8 on AVX2 and AVX512.
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
        A sentence; empty if saturation is not the reason. Only Linux tells whether there is VNNI; on other
        systems its lack is most likely.
    """
    if not variant.startswith("int8") or platform.machine().lower() not in X86:
        return ""
    flags = set(isa())
    is_known = sys.platform == "linux" and bool(flags)
    # Without AVX2 the runtime computes in another way, without overflow.
    if flags & VNNI or (is_known and "avx2" not in flags):
        return ""
    has = "has" if is_known else "most likely has"
    return (
        f"int8 saturation: this CPU {has} no VNNI instructions, "
        "so that sums of 8-bit products overflow their 16 bits."
    )
