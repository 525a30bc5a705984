// Reads {"logits", "labels", "decisions", "positive", "temperature"}; prints all figures.

import { readFileSync } from "node:fs";

import { allFigures } from "../../pepr_edge/web/metrics.mjs";

process.stdout.write(JSON.stringify(allFigures(JSON.parse(readFileSync(0, "utf8")))));
