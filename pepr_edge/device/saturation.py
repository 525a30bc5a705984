"""int8 saturation: the same int8 file gives other logits on an x86 processor that has no VNNI instructions.

Without them a product of unsigned and signed 8-bit numbers is added to its neighbour in 16 bits, and what does not fit there is cut off.
Source: ONNX Runtime, "Quantize ONNX models", on U8S8 on AVX2 and AVX512.
"""

from __future__ import annotations

import platform
import sys

from pepr_edge.device.cpu import isa

X86 = {"x86_64", "amd64", "i686", "i386", "x86"}
VNNI = {"avx512_vnni", "avx_vnni"}


def explanation(variant: str) -> str:
    """Why an int8 model whose float32 fallback passes its self-test may fail its own here, in words; empty where it is for another reason.

    Only Linux tells whether there is VNNI; elsewhere it is most likely.
    """
    if not variant.startswith("int8") or platform.machine().lower() not in X86:
        return ""
    flags = set(isa())
    known = sys.platform == "linux" and bool(flags)
    # Without AVX2 the runtime computes in another way, in which nothing overflows.
    if flags & VNNI or (known and "avx2" not in flags):
        return ""
    return (
        f"int8 saturation: this CPU {'has' if known else 'most likely has'} no VNNI instructions, "
        "so that sums of 8-bit products overflow their 16 bits."
    )
