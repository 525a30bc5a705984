// Drives the page in a browser. Reads a job: browser, executable, url, files, measure, evaluate, folder; prints
// what the page says, what it asked for, and what the accessibility checker finds.

import { readFileSync } from "node:fs";

import { chromium, firefox } from "playwright-core";

const job = JSON.parse(readFileSync(0, "utf8"));
const AXE = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const SIZES = [
  { width: 390, height: 844 },
  { width: 1280, height: 900 },
];
const TIMEOUT_MS = 240000;

const isFirefox = job.browser === "firefox";
const browser = isFirefox
  ? await firefox.launch({ executablePath: job.executable, channel: "moz-firefox" })
  : await chromium.launch({ executablePath: job.executable, args: ["--no-sandbox", ...(job.args ?? [])] });
// Firefox as Debian ships it cannot emulate these.
const emulated = isFirefox ? { colorScheme: null, reducedMotion: null, forcedColors: null, contrast: null } : {};
const context = await browser.newContext({ viewport: SIZES[0], acceptDownloads: true, ...emulated });
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT_MS);
const requests = [];
const faults = [];
page.on("request", (request) => requests.push(request.url()));
page.on("pageerror", (fault) => faults.push(fault.message));
page.on("console", (message) => {
  if (["error", "warning"].includes(message.type())) {
    faults.push(message.text());
  }
});
page.on("dialog", (dialog) => {
  faults.push(`dialog: ${dialog.message()}`);
  void dialog.dismiss();
});

/** Wait until a section is done, and return its status. */
async function settled(section) {
  const status = page.locator(`${section} [role=status]`);
  await page.waitForFunction(
    (name) => {
      const line = document.querySelector(`${name} [role=status]`)?.textContent ?? "";
      return line !== "" && !/\.\.\.$|median/.test(line);
    },
    section,
    { timeout: TIMEOUT_MS },
  );
  return status.textContent();
}

/** Click a button that saves a file, and return its text. */
async function saved(name) {
  const button = page.getByRole("button", { name, exact: true });
  if (!isFirefox) {
    const download = page.waitForEvent("download");
    await button.click();
    return readFileSync(await (await download).path(), "utf8");
  }
  // Firefox as Debian ships it tells its driver of no download.
  await page.evaluate(() => {
    const create = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      globalThis.savedBlob = blob;
      return create.call(URL, blob);
    };
  });
  await button.click();
  return page.evaluate(() => globalThis.savedBlob.text());
}

const found = { axe: [] };
await page.goto(job.url);
await page.getByRole("button", { name: "Check the models" }).waitFor();
const begin = Date.now();
await page.getByRole("button", { name: "Check the models" }).click();
found.check = await settled("#check");
found.checkMs = Date.now() - begin;
found.checkRows = await page.locator("#check tbody tr").allInnerTexts();
found.browserLines = await page.locator("#check p.soft").allInnerTexts();
if (job.files) {
  found.predictions = [];
  for (const option of await page.locator("#predict-model option").all()) {
    await page.locator("#predict-model").selectOption(await option.getAttribute("value"));
    await page.locator("#predict-files").setInputFiles(job.files);
    found.predict = await settled("#predict");
    const items = await page.locator("#predict .results > li > div").all();
    found.predictions.push(await Promise.all(items.map((item) => item.locator("p").allInnerTexts())));
  }
}
if (job.measure) {
  await page.getByRole("button", { name: "Measure", exact: true }).click();
  found.measure = await settled("#measure");
  found.measureRows = await page.locator("#measure tbody tr").allInnerTexts();
  found.report = await saved("Save the measurements");
}
if (job.evaluate) {
  found.evaluations = [];
  for (const { model, files, folder, groups } of job.evaluate) {
    await page.locator("#evaluate-model").selectOption(String(model));
    await page.locator("#evaluate-groups").fill(groups ?? "");
    await page.locator(folder ? "#evaluate-folder" : "#evaluate-files").setInputFiles(folder ?? files);
    found.evaluations.push(await settled("#evaluate"));
  }
  found.evaluateTables = await page.locator("#evaluate table caption").allInnerTexts();
  found.evaluation = await saved("Save the evaluation");
}
await page.evaluate(AXE.concat("; undefined")); // by the debugger, which the page's policy does not bind
found.overflows = [];
for (const scheme of isFirefox ? ["as it is"] : ["light", "dark"]) {
  for (const size of SIZES) {
    if (!isFirefox) {
      await page.emulateMedia({ colorScheme: scheme });
    }
    await page.setViewportSize(size);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    found.axe.push(...violations.map(({ id, impact, nodes }) => ({ id, impact, scheme, html: nodes[0].html })));
    found.overflows.push(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth));
    if (job.folder) {
      await page.screenshot({ path: `${job.folder}/${scheme}-${size.width}.png`, fullPage: true });
    }
  }
}
found.requests = requests.filter((url) => !url.startsWith("blob:"));
found.faults = faults;
await browser.close();
process.stdout.write(JSON.stringify(found));
