// Names as they are compared: labels, columns, and folders of splits. As `pepr_edge.data.names`.

/** @type {Record<string, "train" | "val" | "test">} */
const SPLITS = {};
for (const word of ["train", "training", "trn", "tr", "trainval"]) {
  SPLITS[word] = "train";
}
for (const word of ["val", "valid", "validation", "validate", "validating", "dev", "devel", "development", "tune"]) {
  SPLITS[word] = "val";
}
for (const word of ["test", "testing", "tst", "te", "ts", "holdout", "heldout", "eval", "evaluation", "evaluate"]) {
  SPLITS[word] = "test";
}
// Words that say nothing: train_set, test-data.
const FILLERS = ["dataset", "data", "subset", "set", "sets", "split", "images", "image", "imgs", "img", "folder", "files"];

/**
 * Return what is the same for spellings of a label: case, spaces and Unicode form do not matter.
 * @param {string} name
 * @returns {string}
 */
export function spellingKey(name) {
  return folded(name.normalize("NFKC")).split(/\s+/).filter(Boolean).join(" ");
}

/**
 * Return what is the same for spellings of a column's name: case and outer spaces do not matter.
 * @param {string} name
 * @returns {string}
 */
export function columnKey(name) {
  return folded(name.trim());
}

/**
 * Return a text without its case, as Python's casefold for the letters of most languages.
 * @param {string} text
 * @returns {string}
 */
function folded(text) {
  return text.toUpperCase().toLowerCase().replaceAll("ς", "σ");
}

/**
 * Return the split that a name stands for, as in "Training", "test_set" or "01-valid"; else null.
 * @param {string} name
 * @returns {"train" | "val" | "test" | null}
 */
export function splitNamed(name) {
  const spaced = name.normalize("NFKC").replace(/([a-z])(?=[A-Z])/g, "$1 ");
  const words = spaced.toLowerCase().match(/\p{L}+/gu) ?? [];
  const word = words.map(withoutFiller).filter((part) => !FILLERS.includes(part)).join("");
  return Object.hasOwn(SPLITS, word) ? SPLITS[word] : null;
}

/**
 * Return "train" for "trainset".
 * @param {string} word
 * @returns {string}
 */
function withoutFiller(word) {
  const filler = FILLERS.find((other) => word.endsWith(other) && Object.hasOwn(SPLITS, word.slice(0, -other.length)));
  return filler === undefined ? word : word.slice(0, -filler.length);
}
