// Tables as people save them: comma, semicolon, tab or bar between values, quotes as in RFC 4180, `sep=` in the
// first line, UTF-8 or UTF-16 with a byte order mark. As `pepr_edge.data.table`.

import { PageError, shownName } from "./errors.mjs";
import { columnKey } from "./names.mjs";

/** @typedef {{line: number, values: string[]}} Row `line`: the number of its last line, from 1 */
/** @typedef {{name: string, keys: string[], rows: Row[]}} Table `keys` of the columns, in order */

const SEPARATORS = [",", ";", "\t", "|"];
const MAX_TABLE_BYTES = 1 << 25;

/**
 * Read a table whose first line names the columns; rows without any value are left out.
 * @param {File} file
 * @param {string[]} wanted keys of columns, by which the separator is chosen
 * @returns {Promise<Table>}
 */
export async function readTable(file, wanted) {
  const table = shownName(file.name);
  if (file.size > MAX_TABLE_BYTES) {
    throw new PageError("tableTooLarge", { table, limit: MAX_TABLE_BYTES >> 20 });
  }
  const content = decoded(new Uint8Array(await file.arrayBuffer()), table);
  const given = /^"?sep=(.)"?\r?\n/i.exec(content);
  const body = given ? content.slice(given[0].length) : content;
  const separator = given ? given[1] : bestSeparator(body, wanted);
  const [header = { line: 1, values: [] }, ...rows] = readRows(body, separator);
  const keys = header.values.map(columnKey);
  while (keys.length > 0 && keys[keys.length - 1] === "") {
    keys.pop();
  }
  const double = keys.find((key, index) => key !== "" && keys.indexOf(key) !== index);
  if (double !== undefined) {
    throw new PageError("duplicateColumn", { table, column: shownName(double) });
  }
  for (const { line, values } of rows) {
    while (values.length > keys.length && values[values.length - 1] === "") {
      values.pop();
    }
    if (values.length !== keys.length) {
      const where = { table, line: line + (given ? 1 : 0) };
      throw new PageError("valuesOfLine", { ...where, found: values.length, expected: keys.length });
    }
  }
  return { name: table, keys, rows };
}

/**
 * @param {Uint8Array} bytes
 * @param {string} table its name
 * @returns {string}
 */
function decoded(bytes, table) {
  const mark = (bytes[0] << 8) | bytes[1];
  const encoding = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[mark] ?? "utf-8";
  try {
    const content = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    if (!content.slice(0, 4096).includes("\0")) {
      return content;
    }
  } catch {
    // said below
  }
  throw new PageError("tableNoCsv", { table });
}

/**
 * Return the separator by which most of the wanted columns are found, then the one with most columns.
 * @param {string} content
 * @param {string[]} wanted
 * @returns {string}
 */
function bestSeparator(content, wanted) {
  const firstLine = content.slice(0, 1 << 16).split("\n", 1)[0];
  const scores = SEPARATORS.map((separator) => {
    const keys = (readRows(firstLine, separator)[0]?.values ?? []).map(columnKey);
    return wanted.filter((key) => keys.includes(key)).length * 1e6 + keys.length;
  });
  return SEPARATORS[scores.indexOf(Math.max(...scores))];
}

/**
 * Return the rows of a table, their values without outer spaces.
 * @param {string} content
 * @param {string} separator
 * @returns {Row[]}
 */
export function readRows(content, separator) {
  /** @type {Row[]} */
  const rows = [];
  /** @type {string[]} */
  let values = [];
  let line = 1;
  for (let position = 0; position <= content.length; ) {
    const { value, end } = cellAt(content, position, separator);
    values.push(value.trim());
    line += value.split("\n").length - 1;
    if (content[end] === separator) {
      position = end + 1;
      continue;
    }
    if (values.some((cell) => cell !== "")) {
      rows.push({ line, values });
    }
    values = [];
    position = end + (content[end] === "\r" && content[end + 1] === "\n" ? 2 : 1);
    line += 1;
  }
  return rows;
}

/**
 * Return the value that begins at a position, and where it ends.
 * @param {string} content
 * @param {number} start
 * @param {string} separator
 * @returns {{value: string, end: number}}
 */
function cellAt(content, start, separator) {
  let value = "";
  let position = start;
  while (content[position] === '"') {
    const end = content.indexOf('"', position + 1);
    if (end < 0) {
      throw new PageError("openQuote");
    }
    // Of two quotes side by side, the second stands for a quote.
    value += (position > start ? '"' : "") + content.slice(position + 1, end);
    position = end + 1;
  }
  let end = position;
  while (end < content.length && content[end] !== separator && content[end] !== "\n" && content[end] !== "\r") {
    end += 1;
  }
  return { value: value + content.slice(position, end), end };
}
