"""The platforms that a kit can be made for: which wheels run there, and what the markers of requirements mean there."""

from __future__ import annotations

from typing import NamedTuple


class Platform(NamedTuple):
    """A platform. `tags` are those of wheels, the best first; `system` and `machines` are as Python's `platform` module says them there.

    `floor` is the oldest C library (Linux) or macOS that all of the tags may need.
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
        """The environment that the markers of requirements are to be judged by, for a Python such as "3.11"."""
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


# The C library of Debian 10, Ubuntu 20.04 and RHEL 8, which onnxruntime's wheels need; and those before it.
GLIBC_MINOR = 28
# Names of PEP 513, 571 and 599 for the C libraries 2.5, 2.12 and 2.17.
LEGACY = ("manylinux2014", "manylinux2010", "manylinux1")


def _linux(machine: str, oldest: int) -> Platform:
    new = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, oldest - 1, -1)]
    old = [f"{name}_{machine}" for name in LEGACY[: 1 if oldest >= 17 else None]]
    return Platform((*new, *old), "Linux", (machine,), "linux", f"2.{GLIBC_MINOR}")


PLATFORMS = {
    "linux-x86_64": _linux("x86_64", oldest=5),
    "linux-aarch64": _linux("aarch64", oldest=17),
    "win-amd64": Platform(("win_amd64",), "Windows", ("AMD64",), "win32"),
    # pip adds the tags of the versions before it.
    "macos-arm64": Platform(("macosx_14_0_arm64",), "Darwin", ("arm64",), "darwin", "14.0"),
}
