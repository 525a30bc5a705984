// Makes pixels of files in a browser. Reads {"browser", "executable", "url", "jobs": [{"file", "spec"}]} with the
// address of the page's modules and base64 files; prints the pixels, or the fault, of each.

import { readFileSync } from "node:fs";

import { chromium, firefox } from "playwright-core";

const { browser: name, executable, url, jobs } = JSON.parse(readFileSync(0, "utf8"));
const isFirefox = name === "firefox";
const browser = isFirefox
  ? await firefox.launch({ executablePath: executable, channel: "moz-firefox" })
  : await chromium.launch({ executablePath: executable, args: ["--no-sandbox"] });
const emulated = isFirefox ? { colorScheme: null, reducedMotion: null, forcedColors: null, contrast: null } : {};
const page = await (await browser.newContext(emulated)).newPage();
await page.goto(url);
const results = await page.evaluate(async (given) => {
  const { decode, toPixels } = await import("/preprocess.mjs");
  const { useTables } = await import("/texts.mjs");
  useTables({ en: await (await fetch("/texts/en.json")).json() });
  const made = [];
  for (const { file, spec } of given) {
    try {
      const bytes = Uint8Array.from(atob(file), (sign) => sign.charCodeAt(0));
      made.push({ pixels: Array.from(toPixels(await decode(bytes), spec)) });
    } catch (fault) {
      made.push({ fault: String(fault) });
    }
  }
  return made;
}, jobs);
await browser.close();
process.stdout.write(JSON.stringify(results));
