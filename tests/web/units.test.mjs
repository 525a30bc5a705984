// Tests of the page's modules that need no browser: node --test tests/web

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { inflate, sha256, utf8 } from "../../pepr_edge/web/bytes.mjs";
import { Float, canonicalJson, floatText } from "../../pepr_edge/web/canonical_json.mjs";
import { confidence, decide, probabilities } from "../../pepr_edge/web/decision.mjs";
import { namesOf } from "../../pepr_edge/web/device.mjs";
import { errorLine, shownName } from "../../pepr_edge/web/errors.mjs";
import { readRows } from "../../pepr_edge/web/csv.mjs";
import { readLabelled } from "../../pepr_edge/web/labelled.mjs";
import { exifOrientation, upright } from "../../pepr_edge/web/orientation.mjs";
import { decode } from "../../pepr_edge/web/preprocess.mjs";
import {
  RULES,
  inferencesPerLatency,
  invalidReasons,
  overlatencyAllowed,
  percentiles,
} from "../../pepr_edge/web/rules.mjs";
import {
  bestLanguage,
  chooseLanguage,
  fixed,
  inEnglish,
  languages,
  message,
  milliseconds,
  percent,
  short,
  text,
  useTables,
} from "../../pepr_edge/web/texts.mjs";
import { TABLES } from "./load_texts.mjs";

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
  const reasons = (latencies, durationS) => invalidReasons(latencies, durationS, RULES.quick).map(inEnglish);
  assert.match(reasons(steady, 9)[0], /minimum time: 9.0 s, expected 10 s/);
  assert.match(reasons(steady.slice(1), 12)[0], /minimum queries: 127 in 12 s, expected 128. Take a smaller/);
  assert.match(reasons(steady.slice(66), 12)[1], /early stopping: 62/);
  assert.match(reasons(rising, 12)[0], /drift: median 116 ms .* \(57.9\u00a0%, expected at most 15\u00a0%\)/);
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

test("files of other formats are named, with the remedy", async () => {
  const others = {
    "RIFF\0\0\0\0WEBPVP8 ": /format WebP, .* Convert it to PNG/,
    "II*\0\x08": /format TIFF/,
    "MM\0*": /format TIFF/,
    GIF89a: /format GIF/,
    "\0\0\0\x18ftypheic": /format HEIC/,
    "\0\0\0\x18ftypavif": /format AVIF/,
    "\0\0\0\x18ftypmp42": /not a PNG, JPEG or DICOM/,
    [`${"\0".repeat(128)}DICM`]: /a DICOM file of a kind .* the installed pepr_edge/,
    "\x02\0\0\0UL\x04\0": /a DICOM file/,
    "  <!DOCTYPE html>": /a web page/,
    "version https://git-lfs": /not a PNG, JPEG or DICOM/,
  };
  for (const [content, message] of Object.entries(others)) {
    const bytes = Uint8Array.from(content, (sign) => sign.charCodeAt(0));
    await assert.rejects(decode(bytes), message);
  }
});

test("names and errors of others become one short line", () => {
  assert.equal(shownName("a\n\u202eb.png"), "a??b.png");
  assert.equal(shownName("x".repeat(10000)).length, 80);
  assert.equal(shownName("سلیم\u200cها"), "\u2068سلیم\u200cها\u2069");
  assert.equal(shownName(`a${"\u0301".repeat(500)}`).length, 5);
  assert.equal(errorLine(new Error("first\nsecond")), "first");
});

/** Return what a browser tells of a chosen file. */
function chosen(path, content = "") {
  const name = path.split("/").at(-1);
  const bytes = utf8(content);
  const webkitRelativePath = path.includes("/") ? path : "";
  return { name, webkitRelativePath, size: bytes.length, arrayBuffer: async () => bytes.buffer };
}

const FORM = { labels: LABELS, decision: null, subgroups: ["Sex"] };
const FINDINGS = { labels: ["edema", "mass"], decision: { kind: "thresholds" }, subgroups: [] };

/** Return the names of images and their labels. */
async function labelled(files, form = FORM, groups = []) {
  const { images } = await readLabelled(files, form, groups);
  return images.map(({ file, label }) => [file.name, label]);
}

test("labels come from folders, and of a dataset the test images count", async () => {
  const paths = ["set/Normal/b.png", "set/normal/p1/a.jpg", "set/pneumonia/c.tif", "set/readme.txt", "set/top.png"];
  const plain = paths.map((path) => chosen(path));
  assert.deepEqual(await labelled(plain), [["b.png", 0], ["a.jpg", 0], ["c.tif", 1]]);
  assert.equal((await readLabelled(plain, FORM)).leftOut, 1);
  const split = ["d/train_set/normal/a.png", "d/Test/pneumonia/b.png", "d/valid/normal/c.png"].map((path) => chosen(path));
  assert.deepEqual(await labelled(split), [["b.png", 1]]);
  await assert.rejects(labelled([chosen("d/other/a.png")]), /"other", expected one of/);
  await assert.rejects(labelled([chosen("readme.txt")]), /no labelled images/);
  await assert.rejects(labelled(plain, FORM, ["sex"]), /a folder has no columns/);
  await assert.rejects(labelled(plain, FINDINGS), /several findings, expected a .csv/);
});

test("labels and groups come from a table", async () => {
  const table = 'Path;Label;sex;age\nx/a.png;"pneumonia";f;\nb.png;normal;m;30\n';
  const files = [chosen("t.csv", table), chosen("a.png"), chosen("b.png")];
  const found = await readLabelled(files, FORM, ["AGE"]);
  assert.deepEqual(found.images.map(({ label, groups }) => [label, ...groups]), [[1, "", "f"], [0, "30", "m"]]);
  assert.deepEqual(found.columns, ["AGE", "Sex"]);
  await assert.rejects(labelled(files, FORM, ["site"]), /no column "site" for subgroups/);
  await assert.rejects(labelled(files.slice(0, 2)), /line 3: image "b.png" was not chosen/);
  const wrong = {
    "a,b\n1,2\n": /no column path/,
    "path\na.png\n": /no column label/,
    "path,label\na.png\n": /line 2: 1 values, expected 2/,
    "path,label,PATH\n": /duplicate column "path"/,
    "path,label\na.png,normal\nx/a.png,normal\n": /line 3: x.a.png is also in line 2/,
    'path,label\n"a.png,normal\n': /quote in the table has no end/,
    "path,label\na.png,\u0000": /not a CSV file in UTF-8/,
    "path,label\na.png,tumour\n": /"tumour", expected one of: normal, pneumonia/,
  };
  for (const [content, message] of Object.entries(wrong)) {
    await assert.rejects(labelled([chosen("t.csv", content), ...files.slice(1)]), message);
  }
});

test("patients are no groups", async () => {
  const numbers = Array.from({ length: 21 }, (_, number) => number);
  const table = `path,label,name\n${numbers.map((number) => `${number}.png,normal,patient ${number}`).join("\n")}`;
  const files = [chosen("t.csv", table), ...numbers.map((number) => chosen(`${number}.png`))];
  await assert.rejects(labelled(files, FORM, ["name"]), /21 different values, expected at most 20/);
  const long = chosen("t.csv", `path,label,name\n0.png,normal,${"x".repeat(101)}\n`);
  await assert.rejects(labelled([long, files[1]], FORM, ["name"]), /at most 100 characters/);
});

test("several findings come from columns, or from one", async () => {
  const images = ["a", "b", "c"].map((name) => chosen(`${name}.png`));
  const columns = chosen("t.csv", "path,mass,Edema\na.png,0,1\nb.png,1.0,0\nc.png,0,0\n");
  const expected = [["a.png", [1, 0]], ["b.png", [0, 1]], ["c.png", [0, 0]]];
  assert.deepEqual(await labelled([columns, ...images], FINDINGS), expected);
  const joined = chosen("t.csv", "path,label\na.png,Edema\nb.png,mass\nc.png,No Finding\n");
  assert.deepEqual(await labelled([joined, ...images], FINDINGS), expected);
  const both = chosen("t.csv", "path,label\na.png,mass|edema\n");
  assert.deepEqual(await labelled([both, images[0]], FINDINGS), [["a.png", [1, 1]]]);
  const wrong = chosen("t.csv", "path,mass,edema\na.png,maybe,0\n");
  await assert.rejects(labelled([wrong, images[0]], FINDINGS), /line 2: column "mass" has the value "maybe"/);
  await assert.rejects(labelled([chosen("t.csv", "path,mass\na.png,1\n"), images[0]], FINDINGS), /no column "edema"/);
});

test("tables are read as people save them", () => {
  /** @type {(content: string, separator?: string) => string[][]} */
  const rows = (content, separator = ",") => readRows(content, separator).map(({ values }) => values);
  assert.deepEqual(rows('a,"b ""c"", d"\r\n\n1,2'), [["a", 'b "c", d'], ["1", "2"]]);
  assert.deepEqual(rows('"x\ny"\tz', "\t"), [["x\ny", "z"]]);
  assert.deepEqual(readRows('a\n"b\nc"\nd', ",").map(({ line }) => line), [1, 3, 4]);
});

test("a long table is read in a moment", async () => {
  const count = 20000;
  const numbers = Array.from({ length: count }, (_, number) => number);
  const content = `path,label\n${numbers.map((number) => `x/${number}.png,normal`).join("\n")}\n`;
  const files = [chosen("t.csv", content), ...numbers.map((number) => chosen(`set/x/${number}.png`))];
  const begin = performance.now();
  assert.equal((await labelled(files)).length, count);
  assert.ok(performance.now() - begin < 10000); // minutes, if each row looked at each file
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

test("numbers and plurals are those of the language", () => {
  useTables({
    ...TABLES,
    pl: {
      languageName: "polski",
      percent: "{number}%",
      measured: { one: "{n} model", few: "{n} modele", many: "{n} modeli", other: "{n} modelu" },
    },
  });
  assert.equal(languages()[0], "en");
  assert.deepEqual([bestLanguage(["pl-PL", "en"]), bestLanguage(["tlh", "??"])], ["pl", "en"]);
  chooseLanguage("pl");
  assert.deepEqual([1, 3, 5].map((n) => text("measured", { n })), ["1 model", "3 modele", "5 modeli"]);
  assert.deepEqual([percent(0.125), fixed(0.5, 3), milliseconds(1.5)], ["12,5%", "0,500", "1500 ms"]);
  assert.equal(text("stop"), "Stop"); // that of English, where a table lacks a text
  assert.equal(inEnglish(message("measured", { n: 1 })), "1 model measured.");
  chooseLanguage("en");
  useTables(TABLES);
  assert.deepEqual([0, 1234.5, 0.0123, 1.19e-7].map((value) => short(value)), ["0", "1230", "0.0123", "1.19E-7"]);
});

test("each table of texts is complete", () => {
  const names = (/** @type {string} */ pattern) => [...pattern.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  const forms = (/** @type {string | object} */ pattern) => (typeof pattern === "string" ? [pattern] : Object.values(pattern));
  for (const [code, table] of Object.entries(TABLES)) {
    const categories = new Intl.PluralRules(code).resolvedOptions().pluralCategories;
    assert.deepEqual(Object.keys(table), Object.keys(TABLES.en), code);
    for (const [key, pattern] of Object.entries(table)) {
      if (typeof pattern !== "string") {
        assert.ok("other" in pattern && Object.keys(pattern).every((name) => categories.includes(name)), `${code} ${key}`);
      }
      for (const form of forms(pattern)) {
        assert.deepEqual(names(form), names(forms(TABLES.en[key])[0]), `${code} ${key}`);
      }
    }
  }
});
