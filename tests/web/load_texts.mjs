// Gives the page's modules their texts, as the page does.

import { readFileSync, readdirSync } from "node:fs";

import { useTables } from "../../pepr_edge/web/texts.mjs";

const FOLDER = new URL("../../pepr_edge/web/texts/", import.meta.url);

/** All tables of texts, by language. */
export const TABLES = Object.fromEntries(
  readdirSync(FOLDER)
    .filter((name) => name.endsWith(".json"))
    .map((name) => [name.replace(/\.json$/, ""), JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"))]),
);
useTables(TABLES);
