// Times the first check of a page's first model in a fresh browser. Arguments: browser's executable, the page's URL.
// Prints {"load_s", "check_s"}: until the page can be used, and from the click to the model's row.

import { chromium } from "playwright-core";

const [executablePath, url] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
const begin = performance.now();
await page.goto(url);
await page.getByRole("button", { name: "Check the models" }).waitFor();
const loadS = (performance.now() - begin) / 1e3;
// Within the page, so that the way from here to the browser does not count.
const checkS = await page.evaluate(async () => {
  const start = performance.now();
  document.querySelector("#check button").click();
  while (document.querySelector("#check tbody tr") === null) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  return (performance.now() - start) / 1e3;
});
await browser.close();
process.stdout.write(JSON.stringify({ load_s: loadS, check_s: checkS }));
