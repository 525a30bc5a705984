// The page: reads what is embedded, and puts the sections together.

import { checkView } from "./check_view.mjs";
import { element } from "./dom.mjs";
import { readKit } from "./embedded.mjs";
import { errorLine } from "./errors.mjs";
import { evaluateView } from "./evaluate_view.mjs";
import { Measurements, measureView, saveView } from "./measure_view.mjs";
import { predictView } from "./predict_view.mjs";
import { State } from "./state.mjs";
import { text } from "./texts.mjs";

const SECTIONS = ["check", "predict", "measure", "evaluate", "save"];

/** Build the page. */
async function build() {
  const page = document.getElementById("page");
  if (page === null) {
    return;
  }
  try {
    const state = new State(await readKit());
    const measurements = new Measurements();
    const links = SECTIONS.map((name) => element("li", {}, element("a", { href: `#${name}` }, text(name))));
    page.replaceChildren(
      element("h1", {}, text("title")),
      element("p", { class: "notice" }, text("notice")),
      element("p", {}, text("stays")),
      element("nav", { "aria-label": text("sections") }, element("ul", {}, ...links)),
      checkView(state),
      predictView(state),
      measureView(state, measurements),
      evaluateView(state),
      saveView(state, measurements),
    );
  } catch (fault) {
    const line = element("p", { role: "alert", class: "bad" }, errorLine(fault));
    page.replaceChildren(element("h1", {}, text("title")), line);
  }
}

void build();
