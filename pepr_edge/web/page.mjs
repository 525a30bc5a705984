// The page: reads what is embedded, and puts the sections together.

import { checkView } from "./check_view.mjs";
import { element } from "./dom.mjs";
import { readKit, readTexts } from "./embedded.mjs";
import { errorLine } from "./errors.mjs";
import { evaluateView } from "./evaluate_view.mjs";
import { measureView, saveView } from "./measure_view.mjs";
import { predictView } from "./predict_view.mjs";
import { State } from "./state.mjs";
import { bestLanguage, chooseLanguage, language, languages, text, useTables } from "./texts.mjs";

const SECTIONS = ["check", "predict", "measure", "evaluate", "save"];

/** Build the page. */
async function build() {
  const page = document.getElementById("page");
  if (page === null) {
    return;
  }
  useTables(readTexts());
  chooseLanguage(bestLanguage(navigator.languages));
  try {
    show(page, new State(await readKit()));
  } catch (fault) {
    nameLanguage();
    const line = element("p", { role: "alert", class: "bad" }, errorLine(fault));
    page.replaceChildren(element("h1", {}, text("title")), line);
  }
}

/**
 * Show the sections in the chosen language.
 * @param {HTMLElement} page
 * @param {State} state
 */
function show(page, state) {
  nameLanguage();
  state.listeners = [];
  const links = SECTIONS.map((name) => element("li", {}, element("a", { href: `#${name}` }, text(name))));
  page.replaceChildren(
    element("h1", {}, text("title")),
    ...languageChoice(page, state),
    element("p", { class: "notice" }, text("notice")),
    element("p", {}, text("stays")),
    element("nav", { "aria-label": text("sections") }, element("ul", {}, ...links)),
    checkView(state),
    predictView(state),
    measureView(state),
    evaluateView(state),
    saveView(state),
  );
  state.changed();
}

/** Tell the browser, and screen readers, the language of the page. */
function nameLanguage() {
  document.documentElement.lang = language();
  document.title = text("title");
}

/**
 * Return the choice of a language, and who has reviewed its texts; nothing where there is one language.
 * @param {HTMLElement} page
 * @param {State} state
 * @returns {HTMLElement[]}
 */
function languageChoice(page, state) {
  if (languages().length < 2) {
    return [];
  }
  const options = languages().map((code) =>
    element("option", { value: code, lang: code, selected: code === language() }, text("languageName", {}, code)),
  );
  const select = element("select", { id: "language" }, ...options);
  select.addEventListener("change", () => {
    chooseLanguage(select.value);
    show(page, state);
    document.getElementById("language")?.focus();
  });
  state.listeners.push(() => {
    select.disabled = state.isBusy;
  });
  const note = text("translationNote");
  const label = element("label", { for: "language" }, text("language"));
  return [
    element("div", { class: "row" }, label, select),
    ...(note === "" ? [] : [element("p", { class: "soft" }, note)]),
  ];
}

void build();
