// Labelled images: a folder with a folder for each class, or a table that lists images, as `pepr-edge evaluate`.

import { readTable } from "./csv.mjs";
import { hasFindings } from "./decision.mjs";
import { PageError, shownName } from "./errors.mjs";
import { columnKey, spellingKey, splitNamed } from "./names.mjs";
import { classNumbers, findingTargets } from "./targets.mjs";

/** @typedef {import("./csv.mjs").Table} Table */
/** @typedef {import("./decision.mjs").Decided} Decided */
/** @typedef {import("./embedded.mjs").Form} Form */
/** @typedef {{file: File, label: Decided, groups: string[]}} Labelled `groups`: the value in each column of groups */
/** @typedef {{images: Labelled[], columns: string[], leftOut: number}} LabelledSet */

// Images of the kinds that this page does not read are listed, too: each gets a line that says so.
const IMAGE = /\.(png|jpe?g|webp|tiff?|bmp|gif|dcm|dicom|jp2|heic)$/i;
const TABLE = /\.(csv|tsv)$/i;
// A column with more values names patients, say, and not groups.
const MAX_GROUPS = 20;
const MAX_GROUP_CHARACTERS = 100;

/**
 * Return the chosen images with the class number, or the findings, of each.
 * @param {File[]} files
 * @param {Form} form of the model
 * @param {string[]} wanted names of columns by which results are given for subgroups
 * @returns {Promise<LabelledSet>}
 */
export async function readLabelled(files, form, wanted = []) {
  const visible = files.filter((file) => !file.name.startsWith("."));
  const tables = visible.filter((file) => TABLE.test(file.name));
  if (tables.length > 1) {
    throw new PageError("severalTables", { n: tables.length });
  }
  const images = visible.filter((file) => IMAGE.test(file.name));
  const found = tables.length === 1 ? await ofTable(tables[0], images, form, wanted) : ofFolders(images, form, wanted);
  if (found.images.length === 0) {
    throw new PageError("noLabelled");
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
 * @param {Form} form
 * @param {string[]} wanted
 * @returns {LabelledSet}
 */
function ofFolders(images, form, wanted) {
  if (wanted.length > 0) {
    throw new PageError("folderHasNoColumns", { column: shownName(wanted[0]) });
  }
  if (hasFindings(form.decision)) {
    throw new PageError("findingsNeedTable");
  }
  const placed = images.map((file) => ({ file, ...placeOf(pathOf(file).slice(0, -1), form.labels) }));
  const inFolders = placed.filter(({ label }) => label !== "");
  const hasTrain = inFolders.some(({ split }) => split === "train");
  const chosen = inFolders.filter(({ split }) => !hasTrain || split === "test");
  const numberOf = classNumbers(form.labels);
  const labelled = chosen
    .sort((a, b) => (pathOf(a.file).join("/") < pathOf(b.file).join("/") ? -1 : 1))
    .map(({ file, label }) => ({ file, label: numberOf(label), groups: [] }));
  return { images: labelled, columns: [], leftOut: images.length - labelled.length };
}

/**
 * Return the split and the class of an image by its folders; the class may have folders of its own inside.
 * @param {string[]} folders from the chosen one on
 * @param {string[]} labels
 */
function placeOf(folders, labels) {
  const inner = folders.slice(1);
  const split = inner.map(splitNamed).find((named) => named !== null) ?? null;
  const known = labels.map(spellingKey);
  const classes = inner.filter((name) => known.includes(spellingKey(name)));
  const others = inner.filter((name) => splitNamed(name) === null);
  return { split, label: classes[0] ?? others.at(-1) ?? "" };
}

/**
 * @param {File} file
 * @param {File[]} images
 * @param {Form} form
 * @param {string[]} wanted
 * @returns {Promise<LabelledSet>}
 */
async function ofTable(file, images, form, wanted) {
  const table = await readTable(file, ["path", "label"]);
  const path = table.keys.indexOf("path");
  if (path < 0) {
    throw new PageError("noPathColumn", { table: table.name });
  }
  const split = table.keys.indexOf("split");
  const isTest = table.rows.map(({ values }) => split >= 0 && splitNamed(values[split]) === "test");
  const rows = isTest.includes(true) ? table.rows.filter((_, index) => isTest[index]) : table.rows;
  const chosen = { ...table, rows };
  const targets = targetsOf(chosen, form);
  const columns = groupColumns(chosen, wanted, form.subgroups ?? []);
  const find = finder(images, pathOf(file).slice(0, -1).join("/"), table.name);
  /** @type {Map<File, number>} */
  const lines = new Map();
  const labelled = rows.map(({ line, values }, index) => {
    const image = find(values[path], line);
    const before = lines.get(image);
    if (before !== undefined) {
      throw new PageError("imageTwice", { table: table.name, line, image: shownName(values[path]), before });
    }
    lines.set(image, line);
    return { file: image, label: targets[index], groups: columns.map(({ position }) => values[position]) };
  });
  return { images: labelled, columns: columns.map(({ name }) => name), leftOut: table.rows.length - rows.length };
}

/**
 * @param {Table} table
 * @param {Form} form
 * @returns {Decided[]}
 */
function targetsOf(table, form) {
  if (hasFindings(form.decision)) {
    return findingTargets(table, form.labels);
  }
  const label = table.keys.indexOf("label");
  if (label < 0) {
    throw new PageError("noLabelColumn", { table: table.name });
  }
  const numberOf = classNumbers(form.labels);
  return table.rows.map(({ values }) => numberOf(values[label]));
}

/**
 * Return name and position of each column of groups.
 * @param {Table} table
 * @param {string[]} required
 * @param {string[]} optional used if the table has them
 */
function groupColumns(table, required, optional) {
  const columns = [];
  for (const name of new Set([...required, ...optional])) {
    const position = table.keys.indexOf(columnKey(name));
    if (position < 0 && required.includes(name)) {
      throw new PageError("noGroupColumn", { table: table.name, column: shownName(name) });
    }
    if (position >= 0) {
      checkGroups(table, name, position);
      columns.push({ name, position });
    }
  }
  return columns;
}

/**
 * Refuse a column whose values are no groups, such as the names of patients.
 * @param {Table} table
 * @param {string} name
 * @param {number} position
 */
function checkGroups(table, name, position) {
  const distinct = new Set(table.rows.map(({ values }) => values[position]));
  const where = { table: table.name, column: shownName(name) };
  if (distinct.size > MAX_GROUPS) {
    throw new PageError("tooManyGroups", { ...where, found: distinct.size, limit: MAX_GROUPS });
  }
  for (const value of distinct) {
    if (value.length > MAX_GROUP_CHARACTERS || /[\p{Cc}]/u.test(value)) {
      throw new PageError("groupTooLong", { ...where, value: shownName(value), limit: MAX_GROUP_CHARACTERS });
    }
  }
}

/**
 * Return a function that returns the one chosen image to which a path of the table leads.
 * @param {File[]} images
 * @param {string} folder of the table, within the chosen folder
 * @param {string} table
 * @returns {(path: string, line: number) => File}
 */
function finder(images, folder, table) {
  /** @type {Map<string, File[]>} */
  const byName = new Map();
  for (const image of images) {
    const alike = byName.get(image.name);
    if (alike === undefined) {
      byName.set(image.name, [image]);
    } else {
      alike.push(image);
    }
  }
  return (path, line) => {
    const plain = path.replaceAll("\\", "/").replace(/^(\.\/)+/, "");
    const named = byName.get(plain.split("/").at(-1) ?? "") ?? [];
    const exact = named.filter((image) => pathOf(image).join("/") === [folder, plain].filter(Boolean).join("/"));
    const ending = named.filter((image) => `/${pathOf(image).join("/")}`.endsWith(`/${plain}`));
    const found = [exact, ending, named].find((files) => files.length > 0) ?? [];
    if (found.length !== 1) {
      const key = found.length === 0 ? "imageNotChosen" : "imageSeveral";
      throw new PageError(key, { table, line, image: shownName(path) });
    }
    return found[0];
  };
}
