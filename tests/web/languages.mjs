// Uses the page in a language whose texts are marked. Reads {"executable", "url", "locale", "marks", "images", "table"};
// prints what it shows that is not marked, and what is left after another language is chosen.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

const job = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: job.executable, args: ["--no-sandbox"] });
const context = await browser.newContext({ locale: job.locale, viewport: { width: 390, height: 844 } });
const page = await context.newPage();
page.setDefaultTimeout(120000);
const faults = [];
page.on("pageerror", (fault) => faults.push(fault.message));
await page.goto(job.url);

/** Wait until a section is done. */
const idle = (section) =>
  page.waitForFunction((name) => {
    const line = document.querySelector(`${name} [role=status]`).textContent;
    return line !== "" && !line.includes(" ...") && document.querySelector("#language").disabled === false;
  }, section);

await page.locator("#check button").first().click();
await idle("#check");
await page.locator("#save button").first().click();
await page.locator("#predict-files").setInputFiles(job.images);
await idle("#predict");
await page.locator("#evaluate-files").setInputFiles(job.images);
await idle("#evaluate");
const refused = await page.locator("#evaluate [role=status]").innerText();
await page.locator("#evaluate-groups").fill("sex");
await page.locator("#evaluate-files").setInputFiles(job.table);
await idle("#evaluate");
await page.locator("#measure input[type=checkbox]").nth(1).setChecked(false);
await page.locator("#measure button").first().click();
await idle("#measure");

const found = await page.evaluate((marks) => {
  const texts = [document.title];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) {
      texts.push(node.data);
    } else {
      texts.push(...["alt", "title", "placeholder", "aria-label"].map((name) => node.getAttribute(name) ?? ""));
    }
  }
  const plain = texts.map((text) => text.trim()).filter((text) => text !== "" && !marks.some((mark) => text.includes(mark)));
  return { lang: document.documentElement.lang, unmarked: [...new Set(plain)], count: texts.length };
}, job.marks);
await page.locator("#language").selectOption("en");
const other = {
  lang: await page.evaluate(() => document.documentElement.lang),
  text: await page.locator("main").innerText(),
  rows: await page.locator("tbody tr").count(),
  focused: await page.evaluate(() => document.activeElement.id),
  stored: await page.evaluate(() => Object.keys(localStorage).length + document.cookie.length),
};
await browser.close();
process.stdout.write(JSON.stringify({ ...found, refused, other, faults }));
