// Labelled images: a folder with a folder for each class, or a table that lists images, as `pepr-edge evaluate`.

import { PageError, shownName } from "./errors.mjs";

/** @typedef {{file: File, label: number}} Labelled */

const IMAGE = /\.(png|jpe?g)$/i;
const TABLE = /\.(csv|tsv)$/i;
const OTHER_SPLITS = /^(train|training|val|valid|validation|dev)$/i;
const TEST_SPLIT = /^(test|testing|holdout|eval|evaluation)$/i;
const MAX_TABLE_BYTES = 1 << 25;

/**
 * Return the chosen images with the class number of each.
 * @param {File[]} files
 * @param {string[]} labels of the model
 * @returns {Promise<Labelled[]>}
 */
export async function readLabelled(files, labels) {
  const tables = files.filter((file) => TABLE.test(file.name));
  if (tables.length > 1) {
    throw new PageError(`${tables.length} tables chosen, expected one .csv file. Choose again.`);
  }
  const images = files.filter((file) => IMAGE.test(file.name));
  const found = tables.length === 1 ? await ofTable(tables[0], images, labels) : ofFolders(images, labels);
  if (found.length === 0) {
    throw new PageError(
      "no labelled images, expected a folder with a folder for each class, or a .csv file and its images.",
    );
  }
  return found;
}

/**
 * @param {File} file
 * @returns {string[]}
 */
function pathOf(file) {
  return (file.webkitRelativePath || file.name).split("/");
}

/**
 * @param {File[]} images
 * @param {string[]} labels
 * @returns {Labelled[]}
 */
function ofFolders(images, labels) {
  const hasTest = images.some((file) => pathOf(file).some((part) => TEST_SPLIT.test(part)));
  /** @type {(file: File) => boolean} */
  const isChosen = (file) => {
    const parts = pathOf(file).slice(0, -1);
    return !hasTest || parts.some((part) => TEST_SPLIT.test(part)) || !parts.some((part) => OTHER_SPLITS.test(part));
  };
  return images
    .filter(isChosen)
    .map((file) => ({ file, label: labelNumber(pathOf(file).at(-2) ?? "", labels) }))
    .sort((a, b) => (pathOf(a.file).join("/") < pathOf(b.file).join("/") ? -1 : 1));
}

/**
 * Return a label as it is compared: case and spaces do not matter.
 * @param {string} label
 * @returns {string}
 */
function key(label) {
  return label.normalize("NFKC").toLowerCase().replace(/[\s_-]+/g, " ").trim();
}

/**
 * @param {string} label
 * @param {string[]} labels
 * @returns {number}
 */
function labelNumber(label, labels) {
  const number = labels.findIndex((other) => key(other) === key(label));
  if (number < 0) {
    const expected = labels.map(shownName).join(", ");
    throw new PageError(`label "${shownName(label)}", expected one of: ${expected}. Rename it, or leave it out.`);
  }
  return number;
}

/**
 * @param {File} table
 * @param {File[]} images
 * @param {string[]} labels
 * @returns {Promise<Labelled[]>}
 */
async function ofTable(table, images, labels) {
  const name = shownName(table.name);
  if (table.size > MAX_TABLE_BYTES) {
    throw new PageError(`${name}: larger than ${MAX_TABLE_BYTES >> 20} MiB, expected a list of images.`);
  }
  const [header = [], ...rows] = readRows(await table.text());
  const keys = header.map(key);
  const [path, label, split] = ["path", "label", "split"].map((wanted) => keys.indexOf(wanted));
  if (path < 0 || label < 0) {
    throw new PageError(`${name}: no columns path and label in its first line. Name the columns so.`);
  }
  const isTest = rows.some((row) => TEST_SPLIT.test(row[split] ?? ""));
  const chosen = rows.filter((row) => !isTest || TEST_SPLIT.test(row[split] ?? ""));
  return chosen.map((row) => ({
    file: imageAt(row[path] ?? "", images, name),
    label: labelNumber(row[label] ?? "", labels),
  }));
}

/**
 * Return the one chosen image to which a path of the table leads.
 * @param {string} path
 * @param {File[]} images
 * @param {string} table
 * @returns {File}
 */
function imageAt(path, images, table) {
  const plain = path.replaceAll("\\", "/").replace(/^\.\//, "");
  const whole = images.filter((file) => `/${pathOf(file).join("/")}`.endsWith(`/${plain}`));
  const found = whole.length > 0 ? whole : images.filter((file) => file.name === plain.split("/").at(-1));
  if (found.length !== 1) {
    const reason = found.length === 0 ? "was not chosen" : "is there more than once";
    throw new PageError(`${table}: image "${shownName(path)}" ${reason}. Choose the table and its images together.`);
  }
  return found[0];
}

/**
 * Return the rows of a table: comma, semicolon or tab between values, quotes as in RFC 4180.
 * @param {string} content
 * @returns {string[][]}
 */
export function readRows(content) {
  const plain = content.replace(/^\ufeff/, "");
  const firstLine = plain.split("\n", 1)[0];
  const separator = ["\t", ";"].find((sign) => firstLine.includes(sign)) ?? ",";
  /** @type {string[][]} */
  const rows = [];
  /** @type {string[]} */
  let row = [];
  let value = "";
  let isQuoted = false;
  const endRow = () => {
    row.push(value.trim());
    value = "";
    if (row.some((cell) => cell !== "")) {
      rows.push(row);
    }
    row = [];
  };
  for (let index = 0; index < plain.length; index += 1) {
    const sign = plain[index];
    if (sign === '"') {
      /** @type {boolean} */
      const isDouble = isQuoted && plain[index + 1] === '"';
      value += isDouble ? '"' : "";
      index += isDouble ? 1 : 0;
      isQuoted = isDouble ? isQuoted : !isQuoted;
    } else if (sign === separator && !isQuoted) {
      row.push(value.trim());
      value = "";
    } else if (sign === "\n" && !isQuoted) {
      endRow();
    } else {
      value += sign;
    }
  }
  endRow();
  return rows;
}
