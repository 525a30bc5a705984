// The error that the page shows as one line: what failed, the value, what was expected, how to fix it.

import { text } from "./texts.mjs";

/** An error in what the person gave, or in what this browser can do. */
export class PageError extends Error {
  /**
   * @param {string} key of its text
   * @param {import("./texts.mjs").Values} [values]
   */
  constructor(key, values = {}) {
    super(text(key, values));
    this.key = key;
    this.values = values;
  }
}

/** Raised where the person stops a task. */
export class Stopped extends Error {}

// Control signs, and those that change the direction of a text; not the joiners, which some scripts need.
const SIGNS = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;
// Signs that are put over others: a few are letters of a language, a hundred cover the page.
const MARKS = /(\p{M}{4})\p{M}+/gu;

/**
 * Return a name of others (a file, a label, a model) as it is shown: one line, and no longer than a line.
 * @param {string} name
 * @returns {string}
 */
export function shownName(name) {
  const plain = name.slice(0, 1000).replace(SIGNS, "?").replace(MARKS, "$1");
  const signs = [...plain];
  const short = signs.length > 80 ? `${signs.slice(0, 77).join("")}...` : plain;
  // Isolated, so that it does not turn the words around it.
  return RIGHT_TO_LEFT.test(short) ? `\u2068${short}\u2069` : short;
}

/**
 * Return the one line of any error.
 * @param {unknown} fault
 * @returns {string}
 */
export function errorLine(fault) {
  const line = messageOf(fault).split("\n")[0].replace(/(?![\u200c\u200d\u2068\u2069])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  return line.length > 300 ? `${line.slice(0, 297)}...` : line;
}

/**
 * Return the message of any error; of ours in the language that is chosen now.
 * @param {unknown} fault
 * @returns {string}
 */
function messageOf(fault) {
  if (fault instanceof PageError) {
    return text(fault.key, fault.values);
  }
  return fault instanceof Error ? fault.message || fault.name : String(fault);
}
