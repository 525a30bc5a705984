"""The platforms of kits: the tags of wheels that run there, and the values of requirement markers there."""

from __future__ import annotations

from typing import NamedTuple


class Platform(NamedTuple):
    """A platform.

    Args:
        tags: of wheels, the best first.
        system, machines: values of Python's `platform.system()` and `platform.machine()` there.
        sys_platform: value of Python's `sys.platform` there.
        floor: the oldest C library (Linux) or macOS on which wheels with any of the tags run.
    """

    tags: tuple[str, ...]
    system: str
    machines: tuple[str, ...]
    sys_platform: str
    floor: str | None = None

    @property
    def installer(self) -> str:
        """Name of the script that a person starts."""
        return "install.ps1" if self.system == "Windows" else "install.sh"

    def markers(self, python: str) -> dict[str, str]:
        """Return the values of requirement markers for a Python such as "3.11"."""
        return {
            "implementation_name": "cpython",
            "os_name": "nt" if self.system == "Windows" else "posix",
            "platform_machine": self.machines[0],
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": self.sys_platform,
            "extra": "",
        }


# glibc 2.28 of Debian 10, Ubuntu 20.04 and RHEL 8: onnxruntime's wheels need it.
GLIBC_MINOR = 28
# Names of PEP 599, 571 and 513 for glibc 2.17, 2.12 and 2.5.
LEGACY = ("manylinux2014", "manylinux2010", "manylinux1")


def _linux(machine: str, oldest: int) -> Platform:
    """Return a Linux platform; `oldest` is the minor version of the oldest glibc that has wheels."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, oldest - 1, -1)]
    legacy = LEGACY[:1] if oldest >= 17 else LEGACY
    tags += [f"{name}_{machine}" for name in legacy]
    return Platform(tuple(tags), "Linux", (machine,), "linux", f"2.{GLIBC_MINOR}")


PLATFORMS = {
    "linux-x86_64": _linux("x86_64", oldest=5),
    "linux-aarch64": _linux("aarch64", oldest=17),
    "win-amd64": Platform(("win_amd64",), "Windows", ("AMD64",), "win32"),
    # pip adds the tags of earlier versions.
    "macos-arm64": Platform(("macosx_14_0_arm64",), "Darwin", ("arm64",), "darwin", "14.0"),
}
