// Performance by the values of a column, and what is hidden so that no figure stands for a few patients: as
// `pepr_edge.scoring.subgroups`.

/** @typedef {import("./sums.mjs").Estimate} Estimate */
/** @typedef {{group: string, n: number, figures: Record<string, Estimate | null>}} Group */
/** @typedef {{column: string, metric: string, groups: Group[], worst: string | null, hiddenGroups: number,
 *   hiddenImages: number}} Subgroups */

const MIN_CELL = 5;
/** The group of images without a value, as reports name it. */
export const NO_VALUE = "(no value)";

/**
 * Return the performance by the values of a column.
 *
 * Groups of fewer than MIN_CELL images are hidden. If they have fewer together, the smallest other group is hidden
 * with them: it would follow from the figures of all images.
 * @template T
 * @param {string} column
 * @param {T[]} images
 * @param {(image: T) => string} valueOf
 * @param {(some: T[]) => Record<string, Estimate | null>} figuresOf
 * @param {string} metric by which a group is the worst
 * @returns {Subgroups}
 */
export function subgroupsOf(column, images, valueOf, figuresOf, metric) {
  /** @type {Map<string, T[]>} */
  const byValue = new Map();
  for (const image of images) {
    const value = valueOf(image) || NO_VALUE;
    const members = byValue.get(value);
    if (members === undefined) {
      byValue.set(value, [image]);
    } else {
      members.push(image);
    }
  }
  const named = [...byValue].sort(([a], [b]) => byCodePoints(a, b));
  const bySize = [...named].sort(([, a], [, b]) => a.length - b.length);
  let hidden = bySize.filter(([, members]) => members.length < MIN_CELL).length;
  const imagesOf = (/** @type {number} */ count) =>
    bySize.slice(0, count).reduce((total, [, members]) => total + members.length, 0);
  if (imagesOf(hidden) > 0 && imagesOf(hidden) < MIN_CELL && hidden < bySize.length) {
    hidden += 1;
  }
  const isHidden = new Set(bySize.slice(0, hidden).map(([value]) => value));
  const groups = named
    .filter(([value]) => !isHidden.has(value))
    .map(([group, members]) => ({ group, n: members.length, figures: figuresOf(members) }));
  return { column, metric, groups, worst: worst(groups, metric), hiddenGroups: hidden, hiddenImages: imagesOf(hidden) };
}

/**
 * Return the order of two texts as Python's: by code points, not by halves of pairs.
 * @param {string} a
 * @param {string} b
 * @returns {number}
 */
function byCodePoints(a, b) {
  const [first, second] = [[...a], [...b]];
  const position = first.findIndex((sign, index) => sign !== second[index]);
  if (position < 0 || position >= second.length) {
    return first.length - second.length;
  }
  return (first[position].codePointAt(0) ?? 0) - (second[position].codePointAt(0) ?? 0);
}

/**
 * @param {Group[]} groups
 * @param {string} metric
 * @returns {string | null}
 */
function worst(groups, metric) {
  const known = groups.flatMap(({ group, figures }) => {
    const found = figures[metric];
    return found && found.n >= MIN_CELL ? [{ group, value: found.value }] : [];
  });
  if (known.length < 2 || known.every(({ value }) => value === known[0].value)) {
    return null;
  }
  return known.reduce((lowest, other) => (other.value < lowest.value ? other : lowest)).group;
}
