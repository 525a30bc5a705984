// Tests of the page's modules that need no browser: node --test tests/web

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { inflate, sha256, utf8 } from "../../pepr_edge/web/bytes.mjs";
import { Float, canonicalJson, floatText } from "../../pepr_edge/web/canonical_json.mjs";
import { confidence, decide, probabilities } from "../../pepr_edge/web/decision.mjs";
import { namesOf } from "../../pepr_edge/web/device.mjs";
import { errorLine, shownName } from "../../pepr_edge/web/errors.mjs";
import { readLabelled, readRows } from "../../pepr_edge/web/labelled.mjs";
import { exifOrientation, upright } from "../../pepr_edge/web/orientation.mjs";
import { decode } from "../../pepr_edge/web/preprocess.mjs";
import {
  RULES,
  inferencesPerLatency,
  invalidReasons,
  overlatencyAllowed,
  percentiles,
} from "../../pepr_edge/web/rules.mjs";
import { percent, text } from "../../pepr_edge/web/texts.mjs";

const LABELS = ["normal", "pneumonia"];

test("sha256 is that of node, at every length of the last block", () => {
  for (let length = 0; length < 200; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, index) => index * 7);
    assert.equal(sha256(bytes), createHash("sha256").update(bytes).digest("hex"));
  }
});

test("no more is unpacked than expected", async () => {
  const packed = new Uint8Array(
    await new Response(new Blob([new Uint8Array(1e6)]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
  assert.equal((await inflate(packed, "gzip", 1000)).length, 1000);
});

test("floats are written as Python writes them", () => {
  const cases = [
    [0, "0.0"],
    [5, "5.0"],
    [0.1, "0.1"],
    [1e-7, "1e-07"],
    [1.5e-5, "1.5e-05"],
    [0.0001, "0.0001"],
    [123456789, "123456789.0"],
    [1e16, "1e+16"],
    [2.5e17, "2.5e+17"],
  ];
  for (const [value, expected] of cases) {
    assert.equal(floatText(Number(value)), expected);
  }
});

test("JSON is canonical", () => {
  const document = { b: [1, new Float(1)], a: "é\n\u{1f600}", c: null, d: true };
  assert.equal(canonicalJson(document), '{"a":"\\u00e9\\n\\ud83d\\ude00","b":[1,1.0],"c":null,"d":true}');
});

test("percentiles need as many latencies as MLPerf asks for", () => {
  const smallest = { 0.5: 11, 0.9: 64, 0.95: 130, 0.99: 662 };
  for (const [percentile, n] of Object.entries(smallest)) {
    assert.ok(overlatencyAllowed(n, Number(percentile)) >= 1);
    assert.ok(overlatencyAllowed(n - 1, Number(percentile)) < 1);
  }
  const latencies = Array.from({ length: 64 }, (_, index) => (64 - index) / 1000);
  assert.deepEqual(percentiles(latencies), { p50: 0.043, p90: 0.064, p95: null, p99: null });
});

test("a measurement is INVALID for each reason", () => {
  const steady = new Array(128).fill(0.1);
  const rising = steady.map((latency, index) => latency * (1 + index / 128));
  assert.deepEqual(invalidReasons(steady, 12, RULES.quick), []);
  assert.match(invalidReasons(steady, 9, RULES.quick)[0], /minimum time/);
  assert.match(invalidReasons(steady.slice(1), 12, RULES.quick)[0], /minimum queries/);
  assert.match(invalidReasons(steady.slice(66), 12, RULES.quick)[1], /early stopping/);
  assert.match(invalidReasons(rising, 12, RULES.quick)[0], /drift/);
});

test("a coarse clock times several inferences at once", () => {
  assert.equal(inferencesPerLatency(0.1, 0.001), 1);
  assert.equal(inferencesPerLatency(0.002, 0.001), 50);
  assert.equal(inferencesPerLatency(0.002, 0.000005), 1);
});

test("a threshold, the highest logit and the median decide", () => {
  const threshold = { kind: "threshold", positive: "pneumonia", temperature: 2, threshold: 0.3 };
  const logits = [1, 0];
  const [, share] = probabilities(logits, threshold);
  assert.ok(Math.abs(share - 1 / (1 + Math.exp(0.5))) < 1e-12);
  assert.equal(decide(logits, threshold, LABELS), 1);
  assert.equal(decide(logits, { ...threshold, threshold: 0.4 }, LABELS), 0);
  assert.equal(confidence([0, Math.log(0.3 / 0.7) * 2], threshold, LABELS), 0.5);
  const argmax = { kind: "argmax", positive: null, temperature: 1, threshold: null };
  assert.equal(decide([1, 1, 0], argmax, ["a", "b", "c"]), 0);
  const grades = { ...argmax, kind: "median" };
  assert.equal(decide([2, 0, 2.1], grades, ["a", "b", "c"]), 1);
});

test("a picture is turned by its orientation", () => {
  const picture = { width: 3, height: 2, kind: /** @type {const} */ ("grey"), samples: Uint8Array.of(1, 2, 3, 4, 5, 6) };
  assert.deepEqual([...upright(picture, 6).samples], [4, 1, 5, 2, 6, 3]);
  assert.deepEqual([...upright(picture, 3).samples], [6, 5, 4, 3, 2, 1]);
  assert.equal(upright(picture, 9), picture);
  assert.equal(exifOrientation(utf8("not exif data at all")), null);
});

test("broken files are one line each", async () => {
  const png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
  const files = [[], [1, 2, 3], png, [...png, 0, 0, 0, 13, 73, 72, 68, 82], [0xff, 0xd8, 0xff, 0xe0, 0, 4]];
  for (const file of files) {
    await assert.rejects(decode(Uint8Array.from(file)), /expected|corrupt|alone/);
  }
});

test("names and errors of others become one short line", () => {
  assert.equal(shownName("a\n\u202eb.png"), "a??b.png");
  assert.equal(shownName("x".repeat(200)).length, 80);
  assert.equal(errorLine(new Error("first\nsecond")), "first");
});

/** Return what a browser tells of a chosen file. */
function chosen(path, content = "") {
  const name = path.split("/").at(-1);
  return { name, webkitRelativePath: path.includes("/") ? path : "", size: content.length, text: async () => content };
}

test("labels come from folders, and of a dataset the test images count", async () => {
  const plain = ["set/Normal/b.png", "set/normal/a.jpg", "set/pneumonia/c.png", "set/readme.txt"].map((path) => chosen(path));
  const found = await readLabelled(plain, LABELS);
  assert.deepEqual(found.map(({ file, label }) => [file.name, label]), [["b.png", 0], ["a.jpg", 0], ["c.png", 1]]);
  const split = ["d/train/normal/a.png", "d/test/pneumonia/b.png"].map((path) => chosen(path));
  assert.deepEqual((await readLabelled(split, LABELS)).map(({ file }) => file.name), ["b.png"]);
  await assert.rejects(readLabelled([chosen("d/other/a.png")], LABELS), /"other", expected one of/);
  await assert.rejects(readLabelled([chosen("readme.txt")], LABELS), /no labelled images/);
});

test("labels come from a table", async () => {
  const table = 'Path;Label\nx/a.png;"pneumonia"\nb.png;normal\n';
  const files = [chosen("t.csv", table), chosen("a.png"), chosen("b.png")];
  assert.deepEqual((await readLabelled(files, LABELS)).map(({ label }) => label), [1, 0]);
  await assert.rejects(readLabelled(files.slice(0, 2), LABELS), /"b.png" was not chosen/);
  await assert.rejects(readLabelled([chosen("t.csv", "a,b\n"), ...files.slice(1)], LABELS), /no columns path/);
  assert.deepEqual(readRows('a,"b ""c"", d"\r\n\n1,2'), [["a", 'b "c", d'], ["1", "2"]]);
});

test("the device is told by its class alone", () => {
  const agent = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/141.0.7390.55 Mobile Safari/537.36";
  assert.deepEqual(namesOf(agent), { browser: "Chrome", major: "141", os: "Android" });
  assert.deepEqual(namesOf("?"), { browser: "unknown browser", major: "0", os: "unknown system" });
});

test("texts take values, and an unknown one is an error", () => {
  assert.equal(text("agreeing", { agreeing: 3, n: 4 }), "3 of 4");
  assert.throws(() => text("no such text"), /no such text/);
  assert.deepEqual([0, 1e-5, 0.031, 0.5, 0.9999, 1].map(percent), ["0", "< 0.1", "3.1", "50", "> 99.9", "100"].map((number) => `${number}\u00a0%`));
});
