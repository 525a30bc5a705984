// The field report, as `pepr-edge rank --field` reads it: see `pepr_edge.records.field_report`.

import { float, sealed } from "./canonical_json.mjs";
import { thisDevice } from "./device.mjs";
import { inEnglish } from "./texts.mjs";

/** @typedef {import("./embedded.mjs").Kit} Kit */
/** @typedef {import("./measure.mjs").Measurement} Measurement */
/** @typedef {import("./state.mjs").Entry} Entry */
/** @typedef {{entry: Entry, measurement: Measurement, warnings: import("./texts.mjs").Message[],
 *   isOnBattery: boolean | null}} Measured */

/**
 * Return the text of a sealed report.
 * @param {Kit} kit
 * @param {Measured[]} measured of one provider
 * @returns {string}
 */
export function fieldReport(kit, measured) {
  const powers = measured.map(({ isOnBattery }) => isOnBattery);
  const isOnBattery = powers.includes(true) || (powers.includes(null) ? null : false);
  return sealed({
    schema_version: 1,
    emulated: false,
    partial: false,
    device: deviceFacts(kit, isOnBattery),
    results: measured.map(result),
  });
}

/**
 * Return the device as reports hold it: its class alone.
 * @param {Kit} kit
 * @param {boolean | null} isOnBattery
 */
export function deviceFacts(kit, isOnBattery) {
  const device = thisDevice();
  return {
    cpu: `${device.browser} on ${device.os}`,
    architecture: "wasm32",
    isa: ["simd128"],
    cores: device.cores,
    memory_bytes: device.memoryBytes,
    os: device.os,
    python: "none",
    versions: { "onnxruntime-web": kit.runtime, pepr_edge: kit.version, [device.browser]: device.major },
    on_battery: isOnBattery,
  };
}

/** @param {Measured} measured */
function result({ entry, measurement, warnings }) {
  const { form, provider, test } = entry;
  const { percentilesS, thirdsS } = measurement;
  return {
    bundle: form.bundle,
    artifact_sha256: form.model.sha256,
    runtime: "onnxruntime-web",
    provider_used: provider,
    threads: measurement.threads,
    scenario: "single_stream",
    rules: measurement.rules.name,
    validity: { valid: measurement.reasons.length === 0, reasons: measurement.reasons.map(inEnglish) },
    latencies_s: measurement.latenciesS.map(float),
    percentiles_s: {
      p50: float(percentilesS.p50),
      p90: float(percentilesS.p90),
      p95: float(percentilesS.p95),
      p99: float(percentilesS.p99),
    },
    import_s: float(measurement.importS),
    load_s: float(measurement.loadS),
    first_s: float(measurement.firstS),
    peak_memory_bytes: null,
    memory_stages_bytes: {},
    cpu_s_per_inference: null,
    energy_j_per_inference: null,
    selftest: test && {
      passed: test.passed,
      decisions_agree: test.agreeing === test.n,
      agreeing: test.agreeing,
      max_abs_diff: float(test.maxAbsDiff),
      tolerance: float(test.tolerance),
      n: test.n,
    },
    warmup_runs: measurement.warmupRuns,
    sustained: thirdsS && { first_third_s: float(thirdsS.first), last_third_s: float(thirdsS.last) },
    inferences_per_latency: measurement.perLatency,
    timer_resolution_s: float(measurement.stepS),
    warnings: warnings.map(inEnglish),
  };
}
