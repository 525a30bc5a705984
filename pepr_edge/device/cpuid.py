"""Instruction sets as this process itself sees them. Linux only.

Under a user-mode emulator /proc/cpuinfo may describe the host's processor. On x86 glibc keeps the answer of
the CPUID instruction, which an emulator gives for the emulated processor. On ARM the auxiliary vector holds
it. Sources: <sys/platform/x86.h> of glibc 2.33; Linux, arch/arm64/include/uapi/asm/hwcap.h.
"""

from __future__ import annotations

import platform

EAX = 0
EBX = 1
ECX = 2
EDX = 3
# Numbers of the leaves in glibc.
LEAF_1 = 0
LEAF_7 = 1
LEAF_7_1 = 6
# Name -> leaf, register, bit.
X86 = {
    "ssse3": (LEAF_1, ECX, 9),
    "sse4_2": (LEAF_1, ECX, 20),
    "avx": (LEAF_1, ECX, 28),
    "avx2": (LEAF_7, EBX, 5),
    "fma": (LEAF_1, ECX, 12),
    "f16c": (LEAF_1, ECX, 29),
    "avx512f": (LEAF_7, EBX, 16),
    "avx512bw": (LEAF_7, EBX, 30),
    "avx512vl": (LEAF_7, EBX, 31),
    "avx512_vnni": (LEAF_7, ECX, 11),
    "avx_vnni": (LEAF_7_1, EAX, 4),
    "avx512_bf16": (LEAF_7_1, EAX, 5),
    "amx_int8": (LEAF_7, EDX, 25),
    "amx_bf16": (LEAF_7, EDX, 22),
}
HWCAP = 16
HWCAP2 = 26
# Name -> entry of the auxiliary vector, bit.
ARM64 = {
    "asimd": (HWCAP, 1),
    "asimddp": (HWCAP, 20),
    "asimdhp": (HWCAP, 10),
    "fphp": (HWCAP, 9),
    "i8mm": (HWCAP2, 13),
    "bf16": (HWCAP2, 14),
    "sve": (HWCAP, 22),
    "sve2": (HWCAP2, 1),
}


def flags() -> set[str]:
    """Return names as in `cpu.ISA`; empty where the C library does not tell."""
    machine = platform.machine()
    try:
        if machine == "x86_64":
            return _x86()
        if machine == "aarch64":
            return _arm64()
    except (OSError, AttributeError, ValueError):
        pass  # No such library or function, or a null pointer.
    return set()


def _x86() -> set[str]:
    import ctypes

    leaf = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    # Four registers of what the processor has, then four of what can be used.
    leaf.restype = ctypes.POINTER(ctypes.c_uint32 * 8)
    usable = {number: leaf(number).contents[4:] for number in (LEAF_1, LEAF_7, LEAF_7_1)}
    return {name for name, (number, register, bit) in X86.items() if usable[number][register] >> bit & 1}


def _arm64() -> set[str]:
    import ctypes

    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype = ctypes.c_ulong
    getauxval.argtypes = [ctypes.c_ulong]
    return {name for name, (entry, bit) in ARM64.items() if getauxval(entry) >> bit & 1}
