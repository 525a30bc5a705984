// Reads {"decisions": [...], "metrics": [...], "groups": [...]}; prints what the page's modules say of each.

import { readFileSync } from "node:fs";

import { agree, confidence, decide, probabilities } from "../../pepr_edge/web/decision.mjs";
import { allFindingsFigures, groupFindingsFigures } from "../../pepr_edge/web/findings_metrics.mjs";
import { allFigures, groupFigures } from "../../pepr_edge/web/metrics.mjs";

const { decisions = [], metrics = [], groups = [] } = JSON.parse(readFileSync(0, "utf8"));
const answers = decisions.map(({ logits, decision, labels }) =>
  logits.map((row) => ({
    decided: decide(row, decision, labels),
    confidence: confidence(row, decision, labels),
    probabilities: probabilities(row, decision),
    agrees: agree(decide(row, decision, labels), decide(row, decision, labels)),
  })),
);
/** Return the figures of several findings, or of one label. */
const all = (data) => ("temperatures" in data ? allFindingsFigures(data) : allFigures(data));
const ofGroup = ({ metric, ...data }) =>
  "temperatures" in data ? groupFindingsFigures(data, metric) : groupFigures(data, metric);
process.stdout.write(JSON.stringify({ answers, metrics: metrics.map(all), groups: groups.map(ofGroup) }));
