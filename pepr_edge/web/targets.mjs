// Labels as a model numbers them: a class number, or 0 and 1 for each of several findings. As
// `pepr_edge.field.labelled`.

import { PageError, shownName } from "./errors.mjs";
import { columnKey, spellingKey } from "./names.mjs";

/** @typedef {import("./csv.mjs").Table} Table */

// Between findings in one column, the most certain first.
const SIGNS = ["|", ";", ",", "+", "/"];
// Texts of an image without any finding.
const NONE_WORDS = ["no finding", "no findings", "nofinding", "none", "normal", "healthy", "negative"];
/** @type {Record<string, number>} */
const VALUES = { 0: 0, "0.0": 0, 1: 1, "1.0": 1 };
const MAX_LISTED = 12;

/**
 * Return a function that returns the class number of a label; case and spaces do not matter.
 * @param {string[]} labels
 * @returns {(label: string) => number}
 */
export function classNumbers(labels) {
  const numbers = new Map(labels.map((name, number) => [spellingKey(name), number]));
  /** @type {Map<string, number>} */
  const seen = new Map();
  return (label) => {
    const number = seen.get(label) ?? numbers.get(spellingKey(label));
    if (number === undefined) {
      throw unknown(label, labels);
    }
    seen.set(label, number);
    return number;
  };
}

/**
 * @param {string} label
 * @param {string[]} labels
 * @returns {PageError}
 */
function unknown(label, labels) {
  const expected = labels.slice(0, MAX_LISTED).map(shownName).join(", ") + (labels.length > MAX_LISTED ? " ..." : "");
  return new PageError("unknownLabel", { label: shownName(label), expected });
}

/**
 * Return 0 or 1 for each image and finding, shape (n, findings): from a column for each, or from the column label.
 * @param {Table} table
 * @param {string[]} names of the findings
 * @returns {number[][]}
 */
export function findingTargets(table, names) {
  const positions = names.map((name) => table.keys.indexOf(columnKey(name)));
  const label = table.keys.indexOf("label");
  if (!positions.includes(-1)) {
    return table.rows.map(({ line, values }) =>
      positions.map((position, finding) => zeroOrOne(values[position], names[finding], { table: table.name, line })),
    );
  }
  if (label < 0) {
    const missing = shownName(names[positions.indexOf(-1)]);
    throw new PageError("noFindingColumn", { table: table.name, column: missing });
  }
  return fromOneColumn(table.rows.map(({ values }) => values[label]), names);
}

/**
 * @param {string} value
 * @param {string} name
 * @param {{table: string, line: number}} where
 * @returns {number}
 */
function zeroOrOne(value, name, where) {
  if (!Object.hasOwn(VALUES, value)) {
    throw new PageError("notZeroOrOne", { ...where, column: shownName(name), value: shownName(value) });
  }
  return VALUES[value];
}

/**
 * @param {string[]} texts
 * @param {string[]} names
 * @returns {number[][]}
 */
function fromOneColumn(texts, names) {
  const known = names.map(spellingKey);
  const numberOf = classNumbers(names);
  const others = texts.filter((text) => !known.includes(spellingKey(text)));
  const separator = SIGNS.find((sign) => others.some((text) => text.includes(sign))) ?? null;
  return texts.map((text) => {
    const target = new Array(names.length).fill(0);
    const whole = spellingKey(text);
    const isKnown = known.includes(whole);
    if (!isKnown && (whole === "" || NONE_WORDS.includes(whole))) {
      return target;
    }
    const parts = isKnown || separator === null ? [text] : text.split(separator);
    for (const part of parts.filter((name) => name.trim() !== "")) {
      target[numberOf(part)] = 1;
    }
    return target;
  });
}
