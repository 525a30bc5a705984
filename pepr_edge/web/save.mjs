// Save a text as a file of the person.

import { element } from "./dom.mjs";

// Long enough for a browser that asks where to save.
const REVOKE_AFTER_MS = 60000;

/**
 * Offer a text as a download.
 * @param {string} name of the file
 * @param {string} content
 */
export function saveText(name, content) {
  const url = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), REVOKE_AFTER_MS);
}
