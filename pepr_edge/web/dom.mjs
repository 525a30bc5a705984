// Elements of the page. Texts are set as text, never as HTML.

/** @typedef {Record<string, string | number | boolean | ((event: any) => void)>} Attributes */
/** @typedef {Node | string | null} Child */

/**
 * Return a new element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes] names with "on" are listeners; `true` is an empty attribute, `false` is none
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name.slice(2), value);
    } else if (value !== false) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * Return a button.
 * @param {string} label
 * @param {() => void} onClick
 * @param {boolean} [isMain]
 * @returns {HTMLButtonElement}
 */
export function button(label, onClick, isMain = false) {
  return element("button", { type: "button", class: isMain ? "main" : "plain", onclick: onClick }, label);
}

/**
 * Return a button that ends a task, and how to run one with it.
 * @param {string} label
 * @param {() => void} onStop
 */
export function stopButton(label, onStop) {
  const made = button(label, onStop);
  made.disabled = true;
  return {
    element: made,
    /** @param {() => Promise<void>} task */
    during: async (task) => {
      made.disabled = false;
      try {
        await task();
      } finally {
        made.disabled = true;
      }
    },
  };
}

/**
 * Return a control by which files are chosen.
 * @param {string} label
 * @param {Attributes} attributes of the input
 * @param {(files: File[]) => void} onFiles
 * @returns {HTMLElement}
 */
export function fileChoice(label, attributes, onFiles) {
  const input = element("input", { type: "file", ...attributes });
  input.addEventListener("change", () => {
    onFiles([...(input.files ?? [])]);
    input.value = ""; // so that the same file can be chosen again
  });
  return element("label", { class: "file" }, label, input);
}

/**
 * Return a name with places where a narrow column may break it: names of models are long words.
 * @param {Child} name
 * @returns {Child[]}
 */
function breakable(name) {
  if (typeof name !== "string") {
    return [name];
  }
  return name.split(/(?=@)|(?<=_)(?=[^@]*@)/).flatMap((part, index) => (index === 0 ? [part] : [element("wbr"), part]));
}

/**
 * Return a table that scrolls sideways on narrow screens.
 * @param {string} caption
 * @param {string[]} columns the first names the rows
 * @param {Child[][]} rows
 * @param {string} [subject] what the table is of, if captions of several tables are the same
 * @returns {HTMLElement}
 */
export function table(caption, columns, rows, subject = "") {
  const heads = columns.map((name, index) =>
    element("th", { scope: "col", class: index === 0 ? "name" : "value" }, name),
  );
  const body = rows.map((cells) =>
    element(
      "tr",
      {},
      ...cells.map((cell, index) =>
        index === 0 ? element("th", { scope: "row", class: "name" }, ...breakable(cell)) : element("td", {}, cell),
      ),
    ),
  );
  const made = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...body),
  );
  const label = subject ? `${subject}: ${caption}` : caption;
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, made);
}

/**
 * Return a line of status that screen readers speak.
 * @returns {HTMLElement}
 */
export function statusLine() {
  return element("p", { role: "status", "aria-live": "polite", class: "soft" });
}

/** Let the browser draw and take input. */
export function pause() {
  return new Promise((resolve) => {
    setTimeout(resolve, 0);
  });
}
