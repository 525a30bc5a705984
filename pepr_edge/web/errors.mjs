// The error that the page shows as one line: what failed, the value, what was expected, how to fix it.

/** An error in what the person gave, or in what this browser can do. */
export class PageError extends Error {}

/**
 * Return a file name as it is shown: one line, and no longer than a line.
 * @param {string} name
 * @returns {string}
 */
export function shownName(name) {
  const plain = name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  return plain.length > 80 ? `${plain.slice(0, 77)}...` : plain;
}

/**
 * Return the one line of any error.
 * @param {unknown} fault
 * @returns {string}
 */
export function errorLine(fault) {
  const message = fault instanceof Error ? fault.message || fault.name : String(fault);
  const line = message.split("\n")[0].replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  return line.length > 300 ? `${line.slice(0, 297)}...` : line;
}
