// Uses the page by keys alone, and returns what a screen reader is told. Reads {"executable", "url"}; prints the
// stops of the Tab key in order, the status of the check that Enter started, and the accessibility tree.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

const MAX_STOPS = 60;
const job = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: job.executable, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
page.setDefaultTimeout(240000);
await page.goto(job.url);
await page.getByRole("button", { name: "Check the models" }).waitFor();

/** Return what has the focus: its kind and its label, and whether a mark shows it. */
const focused = () =>
  page.evaluate(() => {
    const one = document.activeElement;
    const label = one.getAttribute("aria-label") ?? one.labels?.[0]?.innerText ?? one.innerText;
    const shown = one.closest(".file") ?? one;
    return { tag: one.tagName.toLowerCase(), label, outline: getComputedStyle(shown).outlineStyle !== "none" };
  });

const stops = [];
for (let count = 0; count < MAX_STOPS; count += 1) {
  await page.keyboard.press("Tab");
  const stop = await focused();
  if (stop.tag === "body") {
    break;
  }
  stops.push(stop);
  if (stop.label === "Check the models") {
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /pass/.test(document.querySelector("#check [role=status]").textContent));
  }
}
const status = await page.locator("#check [role=status]").innerText();
const tree = await page.locator("body").ariaSnapshot();
await browser.close();
process.stdout.write(JSON.stringify({ stops, status, tree }));
