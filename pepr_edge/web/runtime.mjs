// onnxruntime-web, started from what is embedded in the page, and models run by it.

import { hasWebGpu } from "./device.mjs";
import { readAsset } from "./embedded.mjs";
import { PageError, errorLine } from "./errors.mjs";
import { toTensor } from "./preprocess.mjs";

/** @typedef {import("./embedded.mjs").Form} Form */
/** @typedef {import("./embedded.mjs").Kit} Kit */
/** @typedef {{logits: Float32Array, novelty: number | null}} Answer */
/** @typedef {any} Ort the module onnxruntime-web */

/** A model that is open. Times in seconds. */
export class Session {
  /**
   * @param {Ort} ort
   * @param {any} session
   * @param {Form} form
   * @param {string} provider
   * @param {number} threads
   * @param {number} importS
   * @param {number} loadS
   */
  constructor(ort, session, form, provider, threads, importS, loadS) {
    this.ort = ort;
    this.session = session;
    this.form = form;
    this.provider = provider;
    this.threads = threads;
    this.importS = importS;
    this.loadS = loadS;
  }

  /**
   * Run one image.
   * @param {Uint8Array} pixels shape (px, px, channels)
   * @returns {Promise<Answer>}
   */
  async answer(pixels) {
    const outputs = await this.runTensor(toTensor(pixels, this.form.preprocess));
    const logits = outputs[this.form.output]?.data;
    if (!(logits instanceof Float32Array) || logits.length !== this.form.labels.length) {
      throw new PageError("wrongOutput");
    }
    const found = this.form.novelty === null ? null : Number(outputs[this.form.novelty]?.data[0]);
    if (!logits.every(Number.isFinite) || (found !== null && !Number.isFinite(found))) {
      throw new PageError("notFinite");
    }
    return { logits, novelty: found };
  }

  /**
   * @param {Float32Array} tensor
   * @returns {Promise<Record<string, {data: any}>>}
   */
  async runTensor(tensor) {
    const { channels, image_size_px: px } = this.form.preprocess;
    const input = new this.ort.Tensor("float32", tensor, [1, channels, px, px]);
    return this.session.run({ [this.form.input]: input });
  }

  /** Free its memory. */
  async release() {
    await this.session.release();
  }
}

/** Started runtimes by provider: the module, and how long the start took. */
/** @type {Map<string, Promise<{ort: Ort, importS: number}>>} */
const started = new Map();

/**
 * Return the number of threads that this page can use.
 * @returns {number}
 */
export function usableThreads() {
  return globalThis.crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency || 1)) : 1;
}

/**
 * Start the runtime of a provider, once.
 * @param {Kit} kit
 * @param {string} provider "wasm" or "webgpu"
 * @returns {Promise<{ort: Ort, importS: number}>}
 */
function start(kit, provider) {
  let starting = started.get(provider);
  if (starting === undefined) {
    starting = startAnew(kit, provider);
    started.set(provider, starting);
  }
  return starting;
}

// The smallest module with a vector instruction. Source: wasm-feature-detect.
const SIMD_MODULE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

/** Refuse a browser that cannot run the runtime, or must not. */
function checkWebAssembly() {
  if (typeof WebAssembly === "undefined") {
    throw new PageError("noWebAssembly");
  }
  if (!WebAssembly.validate(SIMD_MODULE)) {
    throw new PageError("oldWebAssembly");
  }
  try {
    new WebAssembly.Module(SIMD_MODULE);
  } catch {
    throw new PageError("forbiddenWebAssembly");
  }
}

/**
 * @param {Kit} kit
 * @param {string} provider
 */
async function startAnew(kit, provider) {
  checkWebAssembly();
  const begin = performance.now();
  const { script, wasm } = kit.providers[provider];
  const code = new Blob([await readAsset(script)], { type: "text/javascript" });
  const ort = await import(URL.createObjectURL(code));
  ort.env.logLevel = "fatal";
  ort.env.wasm.wasmBinary = (await readAsset(wasm)).buffer;
  ort.env.wasm.numThreads = usableThreads();
  ort.env.wasm.proxy = false;
  return { ort, importS: (performance.now() - begin) / 1e3 };
}

/**
 * Open a model.
 * @param {Kit} kit
 * @param {Form} form
 * @param {string} provider
 * @returns {Promise<Session>}
 */
export async function openModel(kit, form, provider) {
  if (provider === "webgpu" && !(await hasWebGpu())) {
    throw new PageError("webgpuNo");
  }
  const bytes = await readAsset(form.model);
  let runtime;
  try {
    runtime = await start(kit, provider);
  } catch (fault) {
    if (fault instanceof PageError) {
      throw fault;
    }
    throw new PageError("runtimeFault", { reason: errorLine(fault) });
  }
  const begin = performance.now();
  try {
    const session = await runtime.ort.InferenceSession.create(bytes, {
      executionProviders: [provider],
      graphOptimizationLevel: "all",
    });
    const loadS = (performance.now() - begin) / 1e3;
    return new Session(runtime.ort, session, form, provider, usableThreads(), runtime.importS, loadS);
  } catch (fault) {
    throw new PageError("modelFault", { reason: errorLine(fault) });
  }
}
