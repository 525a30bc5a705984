"""A folder for a USB stick that takes the best models of a run to a device without a network: bundles, wheels, an installer, plain words.

`make` puts it together: `own_wheel` makes the wheel of this package, `wheels` fetches those that it needs for a platform of `platforms`.
`install` is the program that the kit carries: it runs on the device, before anything is installed there, so it uses the standard library
alone.
"""

__all__ = ["make", "platforms"]
