// What the sections of the page share: the kit, which models pass, the open model, what was measured.

import { PageError, Stopped, errorLine, shownName } from "./errors.mjs";
import { openModel } from "./runtime.mjs";
import { selfTest } from "./selftest.mjs";
import { text } from "./texts.mjs";

/** @typedef {import("./embedded.mjs").Form} Form */
/** @typedef {import("./embedded.mjs").Kit} Kit */
/** @typedef {import("./evaluate.mjs").Evaluated} Evaluated */
/** @typedef {import("./report.mjs").Measured} Measured */
/** @typedef {import("./runtime.mjs").Session} Session */
/** @typedef {import("./selftest.mjs").TestResult} TestResult */
/** @typedef {{form: Form, provider: string, test: TestResult | null, fault: unknown}} Entry */

/** The shared state of the page. */
export class State {
  /** @param {Kit} kit */
  constructor(kit) {
    this.kit = kit;
    /** Each form of a model under each provider; `test` and `fault` are null before its check.
     * @type {Entry[]} */
    this.entries = [];
    for (const provider of Object.keys(kit.providers)) {
      this.entries.push(...kit.forms.map((form) => ({ form, provider, test: null, fault: null })));
    }
    /** @type {{entry: Entry, session: Session} | null} */
    this.open = null;
    /** The last measurement of each entry.
     * @type {Measured[]} */
    this.measured = [];
    /** The last evaluation of each entry.
     * @type {Evaluated[]} */
    this.evaluated = [];
    this.isBusy = false;
    /** True once the person wants the running task to end. */
    this.isStopped = false;
    /** @type {(() => void)[]} */
    this.listeners = [];
  }

  /** Tell the sections that something has changed. */
  changed() {
    this.listeners.forEach((listener) => listener());
  }

  /** @param {Measured} measured */
  keepMeasured(measured) {
    this.measured = [...this.measured.filter(({ entry }) => entry !== measured.entry), measured];
  }

  /** @param {Evaluated} evaluated */
  keepEvaluated(evaluated) {
    this.evaluated = [...this.evaluated.filter(({ entry }) => entry !== evaluated.entry), evaluated];
  }

  /**
   * Return the entries that have passed their self-test.
   * @returns {Entry[]}
   */
  passing() {
    return this.entries.filter((entry) => entry.test?.passed);
  }

  /**
   * Run a task alone; say what went wrong in one line.
   * @param {HTMLElement} status
   * @param {() => Promise<void>} task
   */
  async alone(status, task) {
    if (this.isBusy) {
      status.textContent = text("busy");
      return;
    }
    this.isBusy = true;
    this.isStopped = false;
    status.classList.remove("bad");
    status.textContent = text("working");
    this.changed();
    try {
      await task();
    } catch (fault) {
      const isStopped = fault instanceof Stopped;
      status.classList.toggle("bad", !isStopped);
      status.textContent = isStopped ? text("stoppedHere") : errorLine(fault);
    } finally {
      this.isBusy = false;
      this.changed();
    }
  }

  /**
   * Open the model of an entry, in place of the one that is open.
   * @param {Entry} entry
   * @returns {Promise<Session>}
   */
  async session(entry) {
    if (this.open?.entry === entry) {
      return this.open.session;
    }
    const before = this.open;
    this.open = null;
    await before?.session.release();
    const session = await openModel(this.kit, entry.form, entry.provider);
    this.open = { entry, session };
    return session;
  }

  /**
   * Check an entry, once.
   * @param {Entry} entry
   */
  async check(entry) {
    if (entry.test !== null || entry.fault !== null) {
      return;
    }
    try {
      entry.test = await selfTest(await this.session(entry), () => this.isStopped);
    } catch (fault) {
      if (fault instanceof Stopped) {
        throw fault;
      }
      entry.fault = fault;
    }
  }

  /**
   * Return the open model of an entry that passes its check.
   * @param {Entry} entry
   * @returns {Promise<Session>}
   */
  async checkedSession(entry) {
    await this.check(entry);
    if (!entry.test?.passed) {
      const reason = entry.fault === null ? text("failedLine") : errorLine(entry.fault);
      throw new PageError("notUsable", { form: formName(entry), reason });
    }
    return this.session(entry);
  }
}

/**
 * Return the name of an entry as it is shown.
 * @param {Entry} entry
 * @returns {string}
 */
export function formName(entry) {
  const [architecture, variant] = [entry.form.architecture, entry.form.variant].map(shownName);
  return text(entry.provider === "webgpu" ? "formOn" : "form", { architecture, variant });
}
