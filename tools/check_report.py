"""Check a report in a browser: no errors, no requests, no overflow, working sort and filter, accessibility.

    python tools/check_report.py runs/quickstart/report.html [--shots DIR] [--axe FILE] [--chromium PATH]

Drives a headless Chromium from the PATH with playwright (`pip install playwright`). axe-core comes from npm
(`npm pack axe-core`, package/axe.min.js); without it accessibility is not checked, and the output says so.
--shots saves pictures of the page: light and dark, narrow and wide, and a PDF. Prints a line per fault; exit
status 1 if there is any.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WIDTHS_PX = (390, 1280)
SCHEMES = ("light", "dark")
HEIGHT_PX = 900
PRINT_PX = 718  # A4 without the page's own margins
MAX_SHOT_PX = 8_000  # height that Chromium can always draw at once
# A container has no sandbox and little /dev/shm.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
TIMEOUT_MS = 120_000  # long, for a busy machine
SERIOUS = ("serious", "critical")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NO_ROW = "no row holds this"

# Elements wider than the page, except inside a box that scrolls.
OVERFLOWING = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  const width = document.documentElement.scrollWidth;
  if (width > wide) found.push(`the page is ${width} px wide`);
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest(".scroll") && !element.matches(".scroll")) continue;
    const box = element.getBoundingClientRect();
    if (box.width && (box.right > wide + 1 || box.left < -1)) {
      found.push(`${element.tagName} ${element.className} ${box.left} to ${box.right} px`);
    }
  }
  return found;
}"""
# Press each column header twice; report the columns that are not sorted then.
UNSORTED = """() => {
  const found = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      for (const direction of ["ascending", "descending"]) {
        head.querySelector("button").click();
        const cells = [...table.tBodies[0].rows].map((row) => row.cells[column]);
        const numeric = cells.some((cell) => cell.dataset.sort !== undefined);
        const keys = cells.filter((cell) => !numeric || cell.dataset.sort !== undefined)
          .map((cell) => numeric ? Number(cell.dataset.sort) : cell.textContent);
        const order = (a, b) => (numeric ? a - b : a.localeCompare(b)) * (direction === "ascending" ? 1 : -1);
        const name = `${table.id} by ${head.textContent}`;
        const sorted = !keys.some((key, index) => index && order(keys[index - 1], key) > 0);
        if (head.getAttribute("aria-sort") !== direction) found.push(`${name}: not marked as ${direction}`);
        if (!sorted) found.push(`${name}: not ${direction}`);
      }
    });
  }
  return found;
}"""


def main() -> int:
    """Check one report and print its faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for screenshots and the PDF")
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    parser.add_argument(
        "--chromium", default=browser_path(), help="the browser [default: the one on the PATH]"
    )
    arguments = parser.parse_args()
    if arguments.chromium is None:
        parser.error(f"no browser on the PATH, expected one of {', '.join(BROWSERS)}. Give --chromium PATH.")
    faults = list(check(arguments.report, arguments.chromium, arguments.axe, arguments.shots))
    for fault in faults:
        print(fault)
    result = f"{len(faults)} faults" if faults else "ok"
    unchecked = "" if arguments.axe else "; accessibility was not checked: no --axe"
    print(f"{arguments.report}: {result}{unchecked}")
    return 1 if faults else 0


def browser_path() -> str | None:
    """Return the first Chromium on the PATH."""
    paths = (shutil.which(name) for name in BROWSERS)
    return next((path for path in paths if path), None)


def check(report: Path, chromium: str, axe: Path | None = None, shots: Path | None = None) -> Iterator[str]:
    """Yield the faults of a report, a line each.

    Args:
        report: the HTML file.
        chromium: path of the browser.
        axe: axe-core's script; without it, accessibility is not checked.
        shots: folder for pictures of the page, if any.
    """
    from playwright.sync_api import sync_playwright

    script = axe.read_text(encoding="utf-8") if axe else None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for scheme in SCHEMES:
            for width in WIDTHS_PX:
                for fault in _check_layout(browser, report, width, scheme, script, shots):
                    yield f"{scheme}, {width} px: {fault}"
        for fault in _check_controls(browser, report):
            yield f"used: {fault}"
        for fault in _check_print(browser, report, shots):
            yield f"printed: {fault}"
        browser.close()


def _open(browser: Browser, report: Path, faults: list[str], width: int, scheme: str = "light") -> Page:
    """Open the page; its messages, errors and requests are added to `faults`."""
    page = browser.new_page(viewport={"width": width, "height": HEIGHT_PX}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(TIMEOUT_MS)
    address = report.resolve().as_uri()

    def on_console(message: Any) -> None:
        if message.type in ("error", "warning"):
            faults.append(f"console: {message.text}")

    def on_request(request: Any) -> None:
        if request.url != address:
            faults.append(f"request: {request.url[:100]}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("request", on_request)
    page.goto(address)
    return page


def _check_layout(
    browser: Browser, report: Path, width: int, scheme: str, axe: str | None, shots: Path | None
) -> list[str]:
    faults: list[str] = []
    page = _open(browser, report, faults, width, scheme)
    faults += _overflows(page)
    if shots is not None:
        _save_shots(page, shots / f"{scheme}-{width}.png", width)
    if axe is not None:
        faults += _violations(page, axe)
    page.close()
    return faults


def _overflows(page: Page) -> list[str]:
    return [f"overflows: {element}" for element in page.evaluate(OVERFLOWING)]


def _save_shots(page: Page, path: Path, width: int) -> None:
    """Save the whole page, in parts if it is too high for one picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height = int(page.evaluate("() => document.documentElement.scrollHeight"))
    for number, top in enumerate(range(0, height, MAX_SHOT_PX), 1):
        clip: Any = {"x": 0, "y": top, "width": width, "height": min(MAX_SHOT_PX, height - top)}
        file = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        page.screenshot(path=file, full_page=True, clip=clip)


def _violations(page: Page, script: str) -> list[str]:
    """Return the serious faults of accessibility that axe-core finds."""
    page.evaluate(script)
    violations = page.evaluate("async () => (await axe.run(document, {preload: false})).violations")
    faults = []
    for violation in violations:
        if violation["impact"] in SERIOUS:
            element = violation["nodes"][0]["html"][:120]
            faults.append(f"axe: {violation['id']} ({violation['impact']}): {element}")
    return faults


def _check_controls(browser: Browser, report: Path) -> list[str]:
    """Sort every table, by mouse and by keyboard, and use every filter."""
    faults: list[str] = []
    page = _open(browser, report, faults, WIDTHS_PX[-1])
    faults += page.evaluate(UNSORTED)
    for table in page.locator("table.sortable").all()[:1]:
        table.locator("th button").last.focus()
        page.keyboard.press("Enter")
        if table.locator("th").last.get_attribute("aria-sort") != "ascending":
            faults.append("a column header does not react to the keyboard")
    for row_filter in page.locator(".filter").all():
        faults += _check_filter(page, row_filter)
    page.close()
    return faults


def _check_filter(page: Page, row_filter: Locator) -> list[str]:
    """Filter a table by a word of its first row, by nonsense, and by nothing."""
    name = row_filter.get_attribute("data-table")
    rows = page.locator(f"#{name} tbody tr")
    total = rows.count()
    word = (rows.first.locator("td").nth(1).text_content() or "").split()[0]
    search = row_filter.locator("input")
    search.fill(word)
    visible = [row.text_content() or "" for row in rows.all() if row.is_visible()]
    search.fill(NO_ROW)
    with_nonsense = sum(row.is_visible() for row in rows.all())
    search.fill("")
    unfiltered = sum(row.is_visible() for row in rows.all())
    all_match = all(word.lower() in text.lower() for text in visible)
    if visible and all_match and not with_nonsense and unfiltered == total:
        return []
    return [
        f"{name}: filtered by {word!r} it shows {len(visible)} rows, by nonsense {with_nonsense}, "
        f"by nothing {unfiltered} of {total}"
    ]


def _check_print(browser: Browser, report: Path, shots: Path | None) -> list[str]:
    faults: list[str] = []
    page = _open(browser, report, faults, PRINT_PX)
    page.emulate_media(media="print")
    faults += _overflows(page)
    if shots is not None:
        page.pdf(path=shots / "report.pdf", format="A4", prefer_css_page_size=True)
    page.close()
    return faults


if __name__ == "__main__":
    sys.exit(main())
