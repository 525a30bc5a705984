// A plot of latencies in the order they were taken, as SVG.

import { fixed, milliseconds, text } from "./texts.mjs";

const NAMESPACE = "http://www.w3.org/2000/svg";
const WIDTH = 400;
const HEIGHT = 180;
const LEFT = 58;
const BOTTOM = 30;
const TOP = 10;
const MAX_DOTS = 1500;

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [content]
 * @returns {SVGElement}
 */
function shape(tag, attributes, content = "") {
  const made = document.createElementNS(NAMESPACE, tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, String(value)));
  made.textContent = content;
  return made;
}

/**
 * Return the next number above with two digits, so that an axis ends at it.
 * @param {number} value above 0
 * @returns {number}
 */
function roundedUp(value) {
  const step = 10 ** (Math.floor(Math.log10(value)) - 1);
  return Math.ceil(value / step) * step;
}

/**
 * Return a plot.
 * @param {number[]} latenciesS
 * @param {number | null} p90S
 * @param {number} perLatency
 * @param {string} title what a screen reader says
 * @returns {SVGElement}
 */
export function latencyPlot(latenciesS, p90S, perLatency, title) {
  const sorted = [...latenciesS].sort((a, b) => a - b);
  // A single long latency must not flatten all the others; those above the frame lie on its edge.
  const highest = roundedUp(Math.max(sorted[Math.floor((sorted.length - 1) * 0.99)] * 1.2, 1e-9));
  /** @type {(latency: number) => number} */
  const yOf = (latency) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(1, latency / highest));
  /** @type {(index: number) => number} */
  const xOf = (index) => LEFT + ((WIDTH - LEFT - 8) * index) / Math.max(1, latenciesS.length - 1);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": title });
  svg.append(
    shape("line", { class: "axis", x1: LEFT, y1: TOP, x2: LEFT, y2: HEIGHT - BOTTOM }),
    shape("line", { class: "axis", x1: LEFT, y1: HEIGHT - BOTTOM, x2: WIDTH - 8, y2: HEIGHT - BOTTOM }),
  );
  for (const share of [0, 0.5, 1]) {
    const y = yOf(highest * share) + 4;
    svg.append(shape("text", { x: LEFT - 5, y, "text-anchor": "end" }, milliseconds(highest * share)));
  }
  const unit = perLatency === 1 ? text("plotX") : text("plotX2", { n: perLatency });
  svg.append(
    shape("text", { x: LEFT, y: HEIGHT - 10 }, fixed(1, 0)),
    shape("text", { x: WIDTH - 8, y: HEIGHT - 10, "text-anchor": "end" }, fixed(latenciesS.length, 0)),
    shape("text", { x: (WIDTH + LEFT) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, unit),
  );
  const every = Math.ceil(latenciesS.length / MAX_DOTS);
  latenciesS.forEach((latency, index) => {
    if (index % every === 0) {
      svg.append(shape("circle", { class: "dot", cx: xOf(index).toFixed(1), cy: yOf(latency).toFixed(1), r: 1.8 }));
    }
  });
  if (p90S !== null) {
    svg.append(
      shape("line", { class: "mark", x1: LEFT, y1: yOf(p90S), x2: WIDTH - 8, y2: yOf(p90S) }),
      shape("text", { x: WIDTH - 10, y: yOf(p90S) - 4, "text-anchor": "end" }, "p90"),
    );
  }
  return svg;
}
