// Stops measurements. Reads {"executable", "url", "file"}; prints what the page says after each step.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

const job = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: job.executable, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
page.setDefaultTimeout(240000);
const faults = [];
page.on("pageerror", (fault) => faults.push(fault.message));
await page.goto(job.url);

const measure = page.getByRole("button", { name: "Measure", exact: true });
const stop = page.locator("#measure").getByRole("button", { name: "Stop" });
const status = page.locator("#measure [role=status]");

/** Wait until the status of a section matches. */
const said = (section, pattern) =>
  page.waitForFunction(
    ([name, source]) => new RegExp(source).test(document.querySelector(`${name} [role=status]`).textContent),
    [section, pattern.source],
  );

/** Return what the section shows now. */
async function state() {
  return {
    status: await status.innerText(),
    stopIsOff: await stop.isDisabled(),
    barIsHidden: await page.locator("#measure progress").isHidden(),
    rows: await page.locator("#measure tbody tr").allInnerTexts(),
    plots: await page.locator("#measure svg.plot").count(),
  };
}

/** Click "Save", and return the report; what the page says instead if it saves none. */
async function saved() {
  const download = page.waitForEvent("download", { timeout: 3000 }).catch(() => null);
  await page.getByRole("button", { name: "Save the measurements" }).click();
  const file = await download;
  return file ? readFileSync(await file.path(), "utf8") : page.locator("#save [role=status]").innerText();
}

// Both clicks before the first image.
await page.evaluate(() => {
  const [check, stopCheck] = document.querySelectorAll("#check button");
  check.click();
  stopCheck.click();
});
await said("#check", /Stopped/);
const checked = { stopped: await page.locator("#check tbody tr").count() };
await page.getByRole("button", { name: "Check the models" }).click();
await said("#check", /pass/);
checked.again = await page.locator("#check [role=status]").innerText();

/** Measure for a minute, or for ten seconds. */
async function begin(rules) {
  await page.locator(`#measure input[value=${rules}]`).check();
  await measure.click();
}

const found = { checked, before: await state() };
await begin("full");
await said("#measure", /median/);
found.during = await state();
await page.locator("#predict-files").setInputFiles(job.file);
await said("#predict", /Another task/);
found.savedDuring = await saved();
await stop.click();
await said("#measure", /Stopped/);
found.first = { ...(await state()), saved: await saved() };
await page.locator("#predict-files").setInputFiles(job.file);
await said("#predict", /with an answer/);
found.predicted = await page.locator("#predict [role=status]").innerText();

// The first of two models to its end, and the second one stopped, by keys.
await begin("quick");
await said("#measure", /fp32: /);
await stop.press("Enter");
await said("#measure", /Stopped/);
found.second = { ...(await state()), saved: await saved() };

// Anew, and stopped: what was measured before is kept.
await begin("full");
await said("#measure", /median/);
await stop.click();
await said("#measure", /Stopped/);
found.third = { ...(await state()), saved: await saved() };
found.faults = faults;
await browser.close();
process.stdout.write(JSON.stringify(found));
