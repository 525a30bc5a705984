// Reads {"jobs": [{"file", "spec"}]} with base64 files; prints what the page makes of each.

import { decode, toPixels, toTensor } from "../../pepr_edge/web/preprocess.mjs";
import { readFileSync } from "node:fs";

import "./load_texts.mjs";

const { jobs } = JSON.parse(readFileSync(0, "utf8"));
const results = [];
for (const { file, spec } of jobs) {
  try {
    const picture = await decode(new Uint8Array(Buffer.from(file, "base64")));
    const pixels = toPixels(picture, spec);
    const tensor = Buffer.from(toTensor(pixels, spec).buffer);
    results.push({ pixels: Buffer.from(pixels).toString("base64"), tensor: tensor.toString("base64") });
  } catch (fault) {
    results.push({ fault: fault instanceof Error ? fault.message : String(fault) });
  }
}
process.stdout.write(JSON.stringify(results));
