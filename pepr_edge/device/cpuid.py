"""Instruction sets as this process itself sees them: under a user-mode emulator /proc/cpuinfo may tell of the machine below. Linux only.

On x86 glibc keeps what the CPUID instruction said, which an emulator answers for the processor that it plays; on ARM the auxiliary
vector says it. Sources: <sys/platform/x86.h> of glibc 2.33; Linux, arch/arm64/include/uapi/asm/hwcap.h.
"""

from __future__ import annotations

import platform

EAX, EBX, ECX, EDX = range(4)
LEAF_1, LEAF_7, LEAF_7_1 = 0, 1, 6
# Leaf as glibc numbers them, register, bit.
X86 = {
    **{"ssse3": (LEAF_1, ECX, 9), "sse4_2": (LEAF_1, ECX, 20), "avx": (LEAF_1, ECX, 28)},
    **{"avx2": (LEAF_7, EBX, 5), "fma": (LEAF_1, ECX, 12), "f16c": (LEAF_1, ECX, 29)},
    **{"avx512f": (LEAF_7, EBX, 16), "avx512bw": (LEAF_7, EBX, 30), "avx512vl": (LEAF_7, EBX, 31)},
    **{"avx512_vnni": (LEAF_7, ECX, 11), "avx_vnni": (LEAF_7_1, EAX, 4), "avx512_bf16": (LEAF_7_1, EAX, 5)},
    **{"amx_int8": (LEAF_7, EDX, 25), "amx_bf16": (LEAF_7, EDX, 22)},
}
HWCAP, HWCAP2 = 16, 26
# Entry of the auxiliary vector, bit.
ARM64 = {
    **{
        "asimd": (HWCAP, 1),
        "fphp": (HWCAP, 9),
        "asimdhp": (HWCAP, 10),
        "asimddp": (HWCAP, 20),
        "sve": (HWCAP, 22),
    },
    **{"sve2": (HWCAP2, 1), "i8mm": (HWCAP2, 13), "bf16": (HWCAP2, 14)},
}


def flags() -> set[str]:
    """Names as in `cpu.ISA`; empty where the C library does not say."""
    machine = platform.machine()
    try:
        return _x86() if machine == "x86_64" else _arm64() if machine == "aarch64" else set()
    except (OSError, AttributeError, ValueError):  # No such library or function, or a null pointer.
        return set()


def _x86() -> set[str]:
    import ctypes

    leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    # Four registers of what the processor has, then of what of it can be used.
    leaf.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    usable = {number: leaf(number).contents[4:] for number in (LEAF_1, LEAF_7, LEAF_7_1)}
    return {name for name, (number, register, bit) in X86.items() if usable[number][register] >> bit & 1}


def _arm64() -> set[str]:
    import ctypes

    auxiliary = ctypes.CDLL(None).getauxval
    auxiliary.restype, auxiliary.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return {name for name, (entry, bit) in ARM64.items() if auxiliary(entry) >> bit & 1}
