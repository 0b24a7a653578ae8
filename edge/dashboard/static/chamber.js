// One chamber: its health, its buttons, and its cards.
import { AimView } from "./aim.js";
import { CardView } from "./card.js";
import { arrange, attribute, el, text } from "./dom.js";
import { HEALTH, LIMIT, PICTURE, SOURCE, THROTTLED, clock, duration, size, words } from "./words.js";

/** The figures of a chamber's health: name, value, and whether it needs attention. */
export function figures(data) {
  const status = data.status;
  if (!status) return [];
  const found = [];
  const add = (name, value, warn = false) => found.push([name, value, warn]);
  const { expected_hz: expected, published_hz: published } = status.rates;
  add("rate", expected ? `${published.toFixed(1)} of ${expected.toFixed(0)} /s` : `${published.toFixed(1)} /s`, Boolean(expected) && published < 0.9 * expected);
  if (data.latency_ms) add("latency", `${Math.round(data.latency_ms[0])} ms (95 %: ${Math.round(data.latency_ms[1])})`);
  if (data.limit) add("limited by", words(LIMIT, data.limit), !["source"].includes(data.limit));
  if (status.soc_celsius !== null) add("temperature", `${status.soc_celsius.toFixed(0)} °C`, status.soc_celsius >= 80);
  if (status.throttled?.length) add("board", status.throttled.map((code) => words(THROTTLED, code)).join(", "), true);
  const error = status.time.max_error_us;
  add("clock", status.time.synchronized ? (error === null ? "synchronized" : `± ${error < 1000 ? `${error} µs` : `${(error / 1000).toFixed(error < 10000 ? 1 : 0)} ms`}`) : "not synchronized", !status.time.synchronized);
  if (status.frames_dropped) add("dropped", `${status.frames_dropped} pictures`);
  const journal = status.journal;
  if (journal) {
    const stored = journal.oldest ? `${duration(status.time.unix_ns / 1e6 - journal.oldest.unix_ns / 1e6)}, ${size(journal.bytes)}` : "empty";
    add("journal", journal.pending > 200 ? `${stored}, ${journal.pending} waiting` : stored, journal.state !== "ok");
    const loggers = Object.entries(journal.consumers).map(([name, { lag, age_s: age }]) => {
      const behind = lag > 300 ? `${lag} behind` : "up to date";
      return `${name}: ${age > 30 ? `silent for ${duration(age * 1000)}` : behind}`;
    });
    add("loggers", loggers.join(", ") || "none", false);
  }
  return found;
}

const LEVEL = { excellent: "good", fair: "warn", poor: "bad", unusable: "bad" };

/** Kind and text of a chamber's state at a glance. */
export function chamberState(data, nowMs) {
  if (!data.connected) {
    return ["bad", data.heard_ms ? `no connection since ${clock(data.heard_ms)} (${duration(nowMs - data.heard_ms)})` : "no connection yet"];
  }
  const status = data.status;
  if (!status) return ["idle", "connected"];
  if (data.conflict && status.health.grade === "excellent") return ["warn", "which one is it?"];
  return [LEVEL[status.health.grade] ?? "warn", status.health.grade];
}

export class ChamberView {
  constructor(chamber, actions, observer) {
    this.chamber = chamber;
    this.actions = actions;
    this.observer = observer;
    this.cards = new Map();
    this.title = el("h2", { id: `chamber-${chamber.name}`, tabindex: "-1" });
    this.state = el("p.state");
    this.session = el("span.session");
    this.sessionButton = el("button", { type: "button", onclick: () => actions.session(chamber) }, "Begin session");
    this.markButton = el("button", { type: "button", onclick: () => actions.mark(chamber) }, "Mark");
    this.source = el("span.note");
    this.past = el("span.note");
    this.conflict = el("p.conflict");
    this.reasons = el("ul.reasons");
    this.figures = el("dl.figures");
    this.grid = el("div.cards");
    this.aim = new AimView(chamber);
    this.nobody = el("p.empty", {}, "No face in view.");
    this.element = el("section.chamber", { "aria-labelledby": `chamber-${chamber.name}` },
      el("header", {}, this.title, this.state, this.source, this.past, el("span.push"), this.session, this.sessionButton, this.markButton),
      this.conflict, this.reasons, this.figures, this.aim.element, this.nobody, this.grid);
    this.rows = new Map();
  }

  destroy() {
    this.aim.destroy();
    for (const view of this.cards.values()) view.destroy();
  }

  /** Show the newest data. */
  render(nowMs) {
    const { data } = this.chamber;
    text(this.title, data.device ?? "");
    const [kind, says] = chamberState(data, nowMs);
    attribute(this.state, "data-kind", kind);
    text(this.state, says);
    const status = data.connected ? data.status : null;
    const source = status ? [status.source_state === "running" ? "" : words(SOURCE, status.source_state), words(PICTURE, status.picture_state)] : [];
    text(this.source, source.filter(Boolean).join(", "));
    text(this.past, data.past === null || data.past === undefined ? "" : `reading the past: ${Math.round(data.past * 100)} %`);
    text(this.session, data.status?.session ? `session ${data.status.session.name}` : "");
    text(this.sessionButton, data.status?.session ? "End session" : "Begin session");
    this.sessionButton.disabled = this.markButton.disabled = !data.can_ask || !data.connected;
    text(this.conflict, data.conflict ?? "");
    this.conflict.hidden = !data.conflict;
    const reasons = status?.health.reasons ?? [];
    this.reasons.hidden = !reasons.length;
    if (this.reasonCodes !== reasons.join()) {
      this.reasonCodes = reasons.join();
      this.reasons.replaceChildren(...reasons.map((code) => el("li", {}, words(HEALTH, code))));
    }
    this.#renderFigures(data);
    this.#renderCards(nowMs);
  }

  #renderFigures(data) {
    const shown = figures(data).map(([name, value, warn]) => {
      let row = this.rows.get(name);
      if (!row) {
        const dd = el("dd");
        this.rows.set(name, row = { dd, element: el("div", {}, el("dt", {}, name), dd) });
      }
      text(row.dd, value);
      row.element.classList.toggle("attention", warn);
      return row.element;
    });
    arrange(this.figures, shown);
    this.figures.classList.toggle("stale", !data.connected);
  }

  #renderCards(nowMs) {
    const { chamber } = this;
    for (const [key, view] of this.cards) {
      if (chamber.cards.get(key) !== view.card) { view.destroy(); this.cards.delete(key); }
    }
    const order = { p: 0, s: 1, t: 2 };
    const keys = [...chamber.cards.keys()].sort((one, other) => order[one[0]] - order[other[0]] || (one[0] === "t" ? chamber.cards.get(other).data.in_view - chamber.cards.get(one).data.in_view : 0) || one.localeCompare(other, undefined, { numeric: true }));
    const elements = keys.map((key) => {
      let view = this.cards.get(key);
      if (!view) this.cards.set(key, view = new CardView(chamber, chamber.cards.get(key), this.actions, this.observer));
      view.render(chamber, nowMs);
      return view.element;
    });
    arrange(this.grid, elements);
    this.nobody.hidden = keys.length > 0 || !chamber.data.connected;
  }
}
