// The texts of the page, in the language that is chosen. The tables are in texts/: a translation is one more file
// with the same keys. A text with plural forms has one for each category of the language (CLDR) by its value n.

/** @typedef {string | Record<string, string>} Pattern */
/** @typedef {Record<string, Pattern>} Table */
/** @typedef {{seconds: number} | {share: number} | {fixed: number, digits: number}} Quantity */
/** @typedef {string | number | Quantity | Message} Value numbers are written as the language writes them */
/** @typedef {Record<string, Value>} Values */
/** @typedef {{key: string, values: Values}} Message a text that is not in a language yet */

export const ENGLISH = "en";
// Below this, a number is written with a power of ten.
const SMALL = 1e-4;

/** @type {Record<string, Table>} */
let tables = {};
let chosen = ENGLISH;

/**
 * Take the tables of all languages, by their codes (BCP 47).
 * @param {Record<string, Table>} all
 */
export function useTables(all) {
  tables = all;
}

/**
 * Return the codes of the languages that there are, English first.
 * @returns {string[]}
 */
export function languages() {
  const others = Object.keys(tables).filter((code) => code !== ENGLISH);
  return [ENGLISH, ...others.sort()];
}

/**
 * Return the code of the language of the page.
 * @returns {string}
 */
export function language() {
  return chosen;
}

/**
 * Choose the language of the page.
 * @param {string} code
 */
export function chooseLanguage(code) {
  chosen = Object.hasOwn(tables, code) ? code : ENGLISH;
}

/**
 * Return the first wanted language that there is, else English.
 * @param {readonly string[]} wanted codes, such as "fr-CM"
 * @returns {string}
 */
export function bestLanguage(wanted) {
  const codes = wanted.flatMap((code) => [code, code.split("-")[0].toLowerCase()]);
  return codes.find((code) => Object.hasOwn(tables, code)) ?? ENGLISH;
}

/**
 * True if there is such a text.
 * @param {string} key
 * @returns {boolean}
 */
export function hasText(key) {
  return Object.hasOwn(tables[ENGLISH] ?? {}, key);
}

/**
 * Return a text, with its {names} replaced.
 * @param {string} key
 * @param {Values} [values]
 * @param {string} [code] of its language
 * @returns {string}
 */
export function text(key, values = {}, code = chosen) {
  const pattern = tables[code]?.[key] ?? tables[ENGLISH]?.[key];
  if (pattern === undefined) {
    throw new Error(`no text "${key}"`);
  }
  const form = typeof pattern === "string" ? pattern : pluralForm(pattern, values.n, code);
  return form.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? written(values[name], code) : whole));
}

/**
 * @param {Record<string, string>} forms
 * @param {Value} n
 * @param {string} code
 * @returns {string}
 */
function pluralForm(forms, n, code) {
  return forms[new Intl.PluralRules(code).select(Number(n))] ?? forms.other;
}

/**
 * Return a text that gets its language later.
 * @param {string} key
 * @param {Values} [values]
 * @returns {Message}
 */
export function message(key, values = {}) {
  return { key, values };
}

/**
 * Return a message as it stands in reports, which are read elsewhere.
 * @param {Message} later
 * @returns {string}
 */
export function inEnglish({ key, values }) {
  return text(key, values, ENGLISH);
}

/**
 * @param {Value} value
 * @param {string} code
 * @returns {string}
 */
function written(value, code) {
  if (typeof value === "string") {
    return value;
  }
  if (typeof value === "number") {
    return numeral(value, {}, code);
  }
  if ("key" in value) {
    return text(value.key, value.values, code);
  }
  if ("seconds" in value) {
    return milliseconds(value.seconds, code);
  }
  return "share" in value ? percent(value.share, code) : fixed(value.fixed, value.digits, code);
}

/**
 * Return a number as a language writes it; without signs between thousands, which are a decimal sign elsewhere.
 * @param {number} value
 * @param {Intl.NumberFormatOptions} options
 * @param {string} code
 * @returns {string}
 */
function numeral(value, options, code) {
  return new Intl.NumberFormat(code, { useGrouping: false, ...options }).format(value);
}

/**
 * Return a share as a percentage with at most one decimal; what is not certain is not shown as certain.
 * @param {number} share
 * @param {string} [code]
 * @returns {string}
 */
export function percent(share, code = chosen) {
  const rounded = Number((share * 100).toFixed(1));
  /** @type {(number: number) => string} */
  const shown = (number) => text("percent", { number: numeral(number, { maximumFractionDigits: 1 }, code) }, code);
  if (share > 0 && share < 1 && (rounded === 0 || rounded === 100)) {
    return rounded === 0 ? `< ${shown(0.1)}` : `> ${shown(99.9)}`;
  }
  return shown(rounded);
}

/**
 * Return a number with three significant digits.
 * @param {number} value
 * @param {string} [code]
 * @param {number} [minimum] digits: 3 for those of a column
 * @returns {string}
 */
export function short(value, code = chosen, minimum = 1) {
  /** @type {Intl.NumberFormatOptions} */
  const options = { minimumSignificantDigits: minimum, maximumSignificantDigits: 3 };
  if (value !== 0 && Math.abs(value) < SMALL) {
    options.notation = "scientific";
  }
  return numeral(value, options, code);
}

/**
 * Return a number with this many decimals.
 * @param {number} value
 * @param {number} digits
 * @param {string} [code]
 * @returns {string}
 */
export function fixed(value, digits, code = chosen) {
  return numeral(value, { minimumFractionDigits: digits, maximumFractionDigits: digits }, code);
}

/**
 * Return a time in milliseconds, with its unit.
 * @param {number} seconds
 * @param {string} [code]
 * @returns {string}
 */
export function milliseconds(seconds, code = chosen) {
  return text("milliseconds", { number: short(seconds * 1e3, code) }, code);
}
