// Measures models in the page by turns with another program. Arguments: browser's executable, the page's URL.
// For each line on the input, the number of a form, it prints one line: {"p50_ms", "p90_ms", "verdict"}.

import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const [executablePath, url] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
page.setDefaultTimeout(0);
await page.goto(url);
await page.getByRole("button", { name: "Check the models" }).click();
await page.waitForFunction(() => /pass/.test(document.querySelector("#check [role=status]")?.textContent ?? ""));
const boxes = page.locator("#measure fieldset input[type=checkbox]");
for await (const line of createInterface({ input: process.stdin })) {
  const wanted = Number(line);
  for (let index = 0; index < (await boxes.count()); index += 1) {
    await boxes.nth(index).setChecked(index === wanted);
  }
  await page.getByRole("button", { name: "Measure", exact: true }).click();
  const name = await page.locator("#measure fieldset label").nth(wanted).innerText();
  await page.waitForFunction(() => /models? measured/.test(document.querySelector("#measure [role=status]").textContent));
  const row = page.locator("#measure tbody tr", { has: page.getByRole("rowheader", { name, exact: true }) });
  const cells = await row.locator("td").allInnerTexts();
  const [verdict, ...times] = cells;
  const [p50, p90] = times.map((cell) => Number.parseFloat(cell));
  process.stdout.write(`${JSON.stringify({ p50_ms: p50, p90_ms: p90, verdict })}\n`);
}
await browser.close();
