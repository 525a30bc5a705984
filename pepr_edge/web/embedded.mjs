// What is embedded in the page: the kit's description, models, and the runtime. Each is gzip in base64 in a
// block of its own, with its checksum in the description.

import { fastSha256, fromBase64, inflate } from "./bytes.mjs";
import { PageError } from "./errors.mjs";

/** @typedef {import("./decision.mjs").Decision} Decision */
/** @typedef {import("./preprocess.mjs").Preprocess} Preprocess */
/** @typedef {{id: string, sha256: string, size: number}} Asset */
/** @typedef {{n: number, tolerance: number, pixels: Asset, logits: Asset, novelty: Asset | null}} SelfTest */
/** @typedef {{bundle: string, architecture: string, variant: string, labels: string[], preprocess: Preprocess,
 *   input: string, output: string, novelty: string | null, decision: Decision | null, isFallback: boolean,
 *   performanceMetric: string, subgroups: string[], model: Asset, selftest: SelfTest}} Form
 *   `subgroups`: columns for which the bundle has results of groups at home */
/** @typedef {{version: string, runtime: string, made: string, forms: Form[],
 *   providers: Record<string, {script: Asset, wasm: Asset}>}} Kit */

/**
 * Return the description of the kit.
 * @returns {Promise<Kit>}
 */
export async function readKit() {
  const packed = fromBase64(blockText("kit"));
  const bytes = await inflate(packed, "gzip", 1 << 26);
  return JSON.parse(new TextDecoder().decode(bytes));
}

/**
 * Return the tables of texts by language.
 * @returns {Record<string, import("./texts.mjs").Table>}
 */
export function readTexts() {
  // Not compressed: what a browser lacks is said in these words.
  return JSON.parse(document.getElementById("texts")?.textContent ?? "{}");
}

/**
 * Return the bytes of an asset, if they are as they were put in.
 * @param {Asset} asset
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function readAsset(asset) {
  let bytes;
  try {
    bytes = await inflate(fromBase64(blockText(asset.id)), "gzip", asset.size + 1);
  } catch (fault) {
    if (fault instanceof PageError) {
      throw fault;
    }
    throw new PageError("damaged");
  }
  if (bytes.length !== asset.size || (await fastSha256(bytes)) !== asset.sha256) {
    throw new PageError("damagedChecksum");
  }
  return bytes;
}

/**
 * @param {string} id
 * @returns {string}
 */
function blockText(id) {
  const block = document.getElementById(id);
  if (block === null) {
    throw new PageError("incomplete");
  }
  return (block.textContent ?? "").trim();
}
