"""A report in a browser: no error, no request, nothing that overflows, tables that sort and filter, and no serious fault of accessibility.

    python tools/check_report.py runs/quickstart/report.html [--shots DIR] [--axe axe.min.js] [--chromium PATH]

Drives a headless Chromium, found on the PATH, by playwright (`pip install playwright`). axe-core comes from npm (`npm pack axe-core`,
package/axe.min.js); without it accessibility is not checked, which is said. With --shots the page is left there as it looked: light and
dark, narrow and wide, and as PDF. Exit status 1 where something is wrong, a line each.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS_PX = (390, 1280)
SCHEMES = ("light", "dark")
HEIGHT_PX = 900
PRINT_PX = 718  # A4 less the page's own margins
MOST_PX = 8_000  # of a screenshot: what Chromium can surely draw at once
# In a container there is neither a sandbox nor much of /dev/shm.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
PATIENCE_MS = 120_000  # a busy machine takes long
SERIOUS = ("serious", "critical")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# What sticks out of the page, but for what lies in a box that scrolls.
OVERFLOWING = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > wide) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const one of document.body.querySelectorAll("*")) {
    if (one.closest(".scroll") && !one.matches(".scroll")) continue;
    const box = one.getBoundingClientRect();
    if (box.width && (box.right > wide + 1 || box.left < -1)) found.push(`${one.tagName} ${one.className} ${box.left} to ${box.right} px`);
  }
  return found;
}"""
# Each head pressed twice; what does not come out in order.
UNSORTED = """() => {
  const found = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      for (const way of ["ascending", "descending"]) {
        head.querySelector("button").click();
        const cells = [...table.tBodies[0].rows].map((row) => row.cells[column]);
        const numeric = cells.some((cell) => cell.dataset.sort !== undefined);
        const keys = cells.filter((cell) => !numeric || cell.dataset.sort !== undefined)
          .map((cell) => numeric ? Number(cell.dataset.sort) : cell.textContent);
        const order = (a, b) => (numeric ? a - b : a.localeCompare(b)) * (way === "ascending" ? 1 : -1);
        const name = `${table.id} by ${head.textContent}`;
        if (head.getAttribute("aria-sort") !== way) found.push(`${name}: aria-sort is not ${way}`);
        if (keys.some((key, at) => at && order(keys[at - 1], key) > 0)) found.push(`${name}: not ${way}`);
      }
    });
  }
  return found;
}"""


def main() -> int:
    """Check one report; print what is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for screenshots and the PDF")
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    parser.add_argument(
        "--chromium", default=browser_path(), help="the browser [default: the one on the PATH]"
    )
    given = parser.parse_args()
    if given.chromium is None:
        parser.error(f"no browser on the PATH, expected one of {', '.join(BROWSERS)}. Give --chromium PATH.")
    faults = list(check(given.report, given.chromium, given.axe, given.shots))
    for fault in faults:
        print(fault)
    unchecked = "" if given.axe else "; accessibility was not checked: no --axe"
    print(f"{given.report}: {f'{len(faults)} faults' if faults else 'ok'}{unchecked}")
    return 1 if faults else 0


def browser_path() -> str | None:
    """The first Chromium on the PATH."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def check(report: Path, chromium: str, axe: Path | None = None, shots: Path | None = None) -> Iterator[str]:
    """What is wrong with a report, a line each.

    Args:
        report: the HTML file.
        chromium: path of the browser.
        axe: axe-core's script; None leaves accessibility out.
        shots: folder for pictures of the page; None for none.
    """
    from playwright.sync_api import sync_playwright

    script = axe.read_text(encoding="utf-8") if axe else None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for scheme in SCHEMES:
            for width in WIDTHS_PX:
                yield from (
                    f"{scheme}, {width} px: {fault}"
                    for fault in _looked_at(browser, report, width, scheme, script, shots)
                )
        yield from (f"used: {fault}" for fault in _used(browser, report))
        yield from (f"printed: {fault}" for fault in _printed(browser, report, shots))
        browser.close()


def _open(browser: Browser, report: Path, faults: list[str], width: int, scheme: str = "light") -> Page:
    """The page, which adds to `faults` whatever it complains of or asks for."""
    page = browser.new_page(viewport={"width": width, "height": HEIGHT_PX}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE_MS)
    address = report.resolve().as_uri()
    page.on(
        "console",
        lambda message: (
            faults.append(f"console: {message.text}") if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on(
        "request",
        lambda request: faults.append(f"request: {request.url[:100]}") if request.url != address else None,
    )
    page.goto(address)
    return page


def _looked_at(
    browser: Browser, report: Path, width: int, scheme: str, axe: str | None, shots: Path | None
) -> list[str]:
    faults: list[str] = []
    page = _open(browser, report, faults, width, scheme)
    faults += [f"overflows: {one}" for one in page.evaluate(OVERFLOWING)]
    if shots is not None:
        _shoot(page, shots / f"{scheme}-{width}.png", width)
    if axe is not None:
        faults += _axe(page, axe)
    page.close()
    return faults


def _shoot(page: Page, path: Path, width: int) -> None:
    """The whole page, in parts where it is too long for one picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height = int(page.evaluate("() => document.documentElement.scrollHeight"))
    for part, top in enumerate(range(0, height, MOST_PX)):
        clip: Any = {"x": 0, "y": top, "width": width, "height": min(MOST_PX, height - top)}
        page.screenshot(
            path=path if part == 0 else path.with_stem(f"{path.stem}-{part + 1}"), full_page=True, clip=clip
        )


def _axe(page: Page, script: str) -> list[str]:
    page.evaluate(script)
    found = page.evaluate("async () => (await axe.run(document, {preload: false})).violations")
    return [
        f"axe: {one['id']} ({one['impact']}): {one['nodes'][0]['html'][:120]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def _used(browser: Browser, report: Path) -> list[str]:
    """Sorts every table, by mouse and by keyboard, and filters those that can be filtered."""
    faults: list[str] = []
    page = _open(browser, report, faults, WIDTHS_PX[-1])
    faults += page.evaluate(UNSORTED)
    for head in page.locator("table.sortable").all()[:1]:
        button = head.locator("th button").last
        button.focus()
        page.keyboard.press("Enter")
        if head.locator("th").last.get_attribute("aria-sort") != "ascending":
            faults.append("a head does not answer to the keyboard")
    for one in page.locator(".filter").all():
        faults += _filtered(page, one)
    page.close()
    return faults


def _filtered(page: Page, one: Any) -> list[str]:
    name = one.get_attribute("data-table")
    rows = page.locator(f"#{name} tbody tr")
    before, word = rows.count(), (rows.first.locator("td").nth(1).text_content() or "").split()[0]
    one.locator("input").fill(word)
    visible = [row.text_content() or "" for row in rows.all() if row.is_visible()]
    one.locator("input").fill("no row holds this")
    none = sum(row.is_visible() for row in rows.all())
    one.locator("input").fill("")
    after = sum(row.is_visible() for row in rows.all())
    wrong = (
        not visible or any(word.lower() not in text.lower() for text in visible) or none or after != before
    )
    said = f"{name}: filtered by {word!r} it shows {len(visible)} rows, by nonsense {none}, by nothing {after} of {before}"
    return [said] if wrong else []


def _printed(browser: Browser, report: Path, shots: Path | None) -> list[str]:
    faults: list[str] = []
    page = _open(browser, report, faults, PRINT_PX)
    page.emulate_media(media="print")
    faults += [f"overflows: {one}" for one in page.evaluate(OVERFLOWING)]
    if shots is not None:
        page.pdf(path=shots / "report.pdf", format="A4", prefer_css_page_size=True)
    page.close()
    return faults


if __name__ == "__main__":
    sys.exit(main())
