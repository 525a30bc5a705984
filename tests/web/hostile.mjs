// Gives the page what an attacker, a mishap or an old browser gives it. Reads {"executable", "url", "page", "files",
// "named", "folder"}; prints what the page says in each case, and what it did that it must not.

import { readFileSync } from "node:fs";

import { chromium } from "playwright-core";

const job = JSON.parse(readFileSync(0, "utf8"));
const TIMEOUT_MS = 240000;
const browser = await chromium.launch({ executablePath: job.executable, args: ["--no-sandbox"] });
const said = {};
const faults = [];

/** Open the page in a context of its own, and return what a case says of it. */
async function inNewPage(name, script, open, act) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 } });
  if (script) {
    await context.addInitScript(script);
  }
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  page.on("pageerror", (fault) => faults.push(`${name}: ${fault.message}`));
  page.on("dialog", (dialog) => {
    faults.push(`${name}: dialog ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!/^(blob:|data:|file:|http:\/\/kit\.test\/$)/.test(request.url())) {
      faults.push(`${name}: request ${request.url()}`);
    }
  });
  await (open ? open(page) : page.goto(job.url));
  said[name] = await act(page);
  await context.close();
}

const wholeText = (page) => page.locator("main").innerText();

/** Click "Check", and return the rows of the table. */
async function checked(page) {
  await page.getByRole("button", { name: "Check the models" }).click();
  await page.waitForFunction(() => /pass/.test(document.querySelector("#check [role=status]").textContent));
  return page.locator("#check tbody tr").allInnerTexts();
}

/** Predict files, and return the lines of each. */
async function predicted(page, files) {
  await page.locator("#predict-files").setInputFiles(files);
  await page.waitForFunction(() => /answer|pass/.test(document.querySelector("#predict [role=status]").textContent));
  const items = await page.locator("#predict .results > li > div").all();
  return Promise.all(items.map((item) => item.locator("p").allInnerTexts()));
}

const withoutUnpacking = () => delete globalThis.DecompressionStream;
await inNewPage("no unpacking", withoutUnpacking, null, wholeText);

const withoutStorage = () => {
  for (const name of ["localStorage", "sessionStorage", "indexedDB", "caches"]) {
    Object.defineProperty(globalThis, name, {
      get: () => {
        throw new DOMException("denied", "SecurityError");
      },
    });
  }
};
await inNewPage("no storage", withoutStorage, null, checked);
await inNewPage("no WebAssembly", () => delete globalThis.WebAssembly, null, checked);
await inNewPage("old WebAssembly", () => (WebAssembly.validate = () => false), null, checked);

const strict = async (page) => {
  const headers = { "Content-Security-Policy": "script-src 'unsafe-inline' blob:" };
  const answer = { contentType: "text/html", headers, body: readFileSync(job.page) };
  await page.route("http://kit.test/", (route) => route.fulfill(answer));
  await page.goto("http://kit.test/");
};
await inNewPage("a policy", null, strict, checked);

const cutOff = async (page) => {
  const whole = readFileSync(job.page, "utf8");
  const body = whole.slice(0, whole.length / 2);
  await page.route("http://kit.test/", (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto("http://kit.test/");
};
await inNewPage("half a page", null, cutOff, wholeText);

await inNewPage("files", null, null, async (page) => {
  const named = job.named.map((name) => ({ name, mimeType: "image/png", buffer: readFileSync(job.files[0]) }));
  const found = { files: await predicted(page, job.files), named: await predicted(page, named) };
  found.after = await predicted(page, job.files.slice(0, 1)); // the page goes on
  found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  found.elements = await page.locator("main script, main [onerror], main iframe").count();
  return found;
});

await inNewPage("a hidden tab", null, null, async (page) => {
  await checked(page);
  await page.getByRole("button", { name: "Measure", exact: true }).click();
  await page.waitForFunction(() => /median/.test(document.querySelector("#measure [role=status]").textContent));
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForFunction(() => /measured/.test(document.querySelector("#measure [role=status]").textContent));
  return page.locator("#measure p.warn").allInnerTexts();
});

await inNewPage("many files", null, null, async (page) => {
  await page.locator("#evaluate-folder").setInputFiles(job.folder);
  const done = () => /evaluated|expected/.test(document.querySelector("#evaluate [role=status]").textContent);
  await page.waitForFunction(done);
  return page.locator("#evaluate [role=status]").innerText();
});

await browser.close();
process.stdout.write(JSON.stringify({ said, faults }));
