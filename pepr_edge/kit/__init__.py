"""A kit: a folder for a USB stick with all that a device without a network needs to run and measure models.

`make` builds the folder: bundles, wheels, an installer and START.txt. `own_wheel` makes the wheel of this
package, `wheels` downloads the others for a platform of `platforms`. `check` checks a kit as it was handed
over. `install` is the installer that a kit carries. It runs on the device before anything is installed there,
so it uses the standard library alone.

`web_kit` makes a kit of one HTML page, `web_page` puts the page together, `web_runtime` gets what runs models
in a browser, `serve` hands the page to browsers.
"""

__all__ = ["check", "install", "make", "platforms", "serve", "web_kit", "web_page", "web_runtime"]
