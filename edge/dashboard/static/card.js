// One card: a participant, a seat or a track.
import { drawCircumplex } from "./circumplex.js";
import { arrange, attribute, el, text } from "./dom.js";
import { Timeline } from "./timeline.js";
import { BASELINE, EXPRESSIONS, LIDS, QUALITY, duration, words } from "./words.js";

const UNREAD_MS = 2000; // a shorter time is no news

/** What a card says at a glance: a kind (good, warn, bad, idle) and a text. */
export function cardState(data, isConnected, nowMs) {
  if (!isConnected) return ["idle", "no connection"];
  const away = data.seen_ms ? nowMs - data.seen_ms : Infinity;
  if (!data.in_view && away >= UNREAD_MS) {
    return ["idle", data.seen_ms ? `not in view for ${duration(away)}` : "not seen yet"];
  }
  const unread = data.read_ms ? nowMs - data.read_ms : Infinity;
  if (data.smoothed || unread < UNREAD_MS) return ["good", "OK"];
  const why = (data.reasons ?? []).map((code) => words(QUALITY, code)).join(", ") || "not classified";
  return ["warn", unread === Infinity ? `not read yet: ${why}` : `not read for ${duration(unread)}: ${why}`];
}

const UNMEASURED_MS = 3000; // between two turns of the face mesh
const BLINK_S = 1; // eyes that are closed for a shorter time are no news

/** What the face mesh says of the eyes: a kind (closed, or empty) and texts; no text where it is off. */
export function eyesState(data, hasMesh, nowMs) {
  if (!data.lids && !hasMesh) return ["", []];
  const away = data.lids ? nowMs - data.measured_ms : Infinity;
  if (away >= UNMEASURED_MS) {
    if (!data.in_view) return ["", ["PERCLOS –", "blinks –"]];
    return ["", [data.lids ? `eyes not measured for ${duration(away)}` : "eyes not measured"]];
  }
  const { perclos, perclos_reason: perclosWhy, blinks_per_min: blinks, blinks_reason: blinksWhy, closed_s: closed } = data.lids;
  const isClosed = closed >= BLINK_S; // null is not
  const found = isClosed ? [`eyes closed for ${duration(closed * 1000)}`] : [];
  if (perclos === null && blinks === null && perclosWhy === blinksWhy) {
    found.push(`PERCLOS, blinks: ${words(LIDS, perclosWhy)}`);
  } else {
    found.push(perclos === null ? `PERCLOS: ${words(LIDS, perclosWhy)}` : `PERCLOS ${Math.round(perclos * 100)} %`);
    const rate = Math.round(blinks);
    found.push(blinks === null ? `blinks: ${words(LIDS, blinksWhy)}` : `${rate} ${rate === 1 ? "blink" : "blinks"} a minute`);
  }
  return [isClosed ? "closed" : "", found];
}

const TITLES = { p: "Participant", s: "Seat", t: "Track" };

export class CardView {
  #chart;
  #visible = true;

  constructor(chamber, card, actions, observer) {
    this.card = card;
    this.title = el("h3");
    this.where = el("span.where");
    this.state = el("p.state");
    this.canvas = el("canvas.circumplex", { role: "img", "aria-label": "Circumplex" });
    this.label = el("p.label");
    this.bars = EXPRESSIONS.map((name) => {
      const fill = el("span.fill");
      const share = el("span.share");
      const row = el("li", {}, el("span.name", {}, name), el("span.track", {}, fill), share);
      return { row, fill, share };
    });
    this.chart = el("div.chart", { role: "img", "aria-label": "Valence and arousal over time" });
    this.values = el("p.values");
    this.eyes = el("p.eyes", { title: "PERCLOS: share of the last minute in which the eyes were closed" });
    this.code = el("button", { type: "button", onclick: () => actions.assign(chamber, card) }, "Code …");
    this.baseline = el("button", { type: "button", onclick: () => actions.baseline(chamber, card) }, "Baseline");
    this.baselineState = el("span.note");
    this.element = el("article.card", { "data-key": card.key },
      el("header", {}, el("div", {}, this.title, this.where), this.state),
      el("div.now", {}, this.canvas, el("div.expression", {}, this.label, el("ul.bars", { "aria-label": "Expressions" }, ...this.bars.map((bar) => bar.row)))),
      this.values, this.eyes, this.chart,
      el("footer", {}, this.code, this.baseline, this.baselineState));
    this.element.cardView = this;
    this.#chart = new Timeline(this.chart);
    this.observer = observer;
    observer.observe(this.element);
  }

  get visible() {
    return this.#visible;
  }

  set visible(value) {
    this.#visible = value;
  }

  destroy() {
    this.observer.unobserve(this.element);
    this.#chart.destroy();
  }

  /** Show the newest data; the charts only while they can be seen. */
  render(chamber, nowMs) {
    const { data, key } = this.card;
    const kind = key[0];
    const name = kind === "t" ? `track ${data.track ?? key.split(".").at(-1)}` : key.slice(2);
    text(this.title, name);
    const where = [kind === "p" && data.seat ? data.seat : "", kind !== "t" && data.in_view && data.track ? `track ${data.track}` : ""];
    text(this.where, where.filter(Boolean).join(" · "));
    const [state, says] = cardState(data, chamber.data.connected, nowMs);
    attribute(this.state, "data-kind", state);
    text(this.state, says);
    attribute(this.element, "data-kind", state);
    attribute(this.element, "aria-label", `${TITLES[kind]} ${kind === "t" ? data.track ?? "" : name}`);
    const can = chamber.data.can_ask && chamber.data.connected;
    this.code.disabled = !can || (kind === "t" && !data.in_view);
    this.baseline.disabled = !can || kind !== "p";
    text(this.baseline, data.baseline === "learning" ? "End baseline" : "Baseline");
    attribute(this.baseline, "title", kind === "p" ? null : "needs a code first");
    text(this.baselineState, kind === "p" ? words(BASELINE, data.baseline) : "");
    const isInView = data.in_view && chamber.data.connected;
    const [eyes, eyesSay] = eyesState({ ...data, in_view: isInView }, chamber.data.has_mesh, nowMs);
    this.eyes.hidden = !eyesSay.length;
    attribute(this.eyes, "data-kind", eyes);
    if (this.eyesSaid !== eyesSay.join()) {
      this.eyesSaid = eyesSay.join();
      this.eyes.replaceChildren(...eyesSay.map((each) => el("span", {}, each)));
    }
    if (!this.#visible) return;
    // what was read less than two seconds ago stays, so that a blink of the tracker is no blink here
    const read = data.smoothed ? data : data.read_ms && nowMs - data.read_ms < UNREAD_MS ? this.card.read : null;
    const shares = read?.shares;
    text(this.label, shares ? read.label : "–");
    this.bars.forEach((bar, index) => {
      const share = shares?.[index] ?? 0;
      // null: the network does not know this expression
      const shown = !shares ? "" : shares[index] === null ? "–" : `${Math.round(share * 100)} %`;
      if (bar.shown === shown) return;
      bar.shown = shown;
      bar.fill.style.transform = `scaleX(${share})`;
      text(bar.share, shown);
    });
    this.bars.forEach((bar, index) => {
      const isStable = Boolean(shares) && EXPRESSIONS[index] === read.label;
      if (bar.stable !== isStable) bar.row.classList.toggle("stable", bar.stable = isStable);
    });
    drawCircumplex(this.canvas, this.card.trail, nowMs, Boolean(read) && chamber.data.connected);
    this.#renderValues(read);
  }

  #renderValues(read) {
    const shown = read?.smoothed;
    const number = (value) => (value <= -0.005 ? "−" : "+") + Math.abs(value).toFixed(2); // no −0.00
    const values = shown ? [`valence ${number(shown[0])}`, `arousal ${number(shown[1])}`] : ["valence –", "arousal –"];
    if (shown && read.relative) values.push(`relative ${number(read.relative[0])} ${number(read.relative[1])}`);
    if (this.spans === undefined) this.spans = ["valence", "arousal", "relative"].map((name) => el(`span.${name}`));
    values.forEach((value, index) => text(this.spans[index], value));
    arrange(this.values, this.spans.slice(0, values.length));
    const label = shown ? `Circumplex: ${values.join(", ")}` : "Circumplex: not read";
    if (this.labelMs === undefined || Date.now() - this.labelMs > 2000) { // for screen readers, not in haste
      this.labelMs = Date.now();
      attribute(this.canvas, "aria-label", label);
    }
  }

  /** First and last second of the chart's axis; null: not drawn yet. */
  get span() {
    return this.#chart.span;
  }

  /** Draw the chart of hours; about once a second. */
  renderChart(events, eventsVersion, end, range) {
    if (this.#visible) this.#chart.draw(this.card.series, events, eventsVersion, end, range);
  }
}
