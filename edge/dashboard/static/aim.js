// Aiming the camera: outlines of the faces in the picture, measured values, and what to change.
import { get } from "./api.js";
import { attribute, el } from "./dom.js";
import { Preview } from "./preview.js";
import { palette } from "./theme.js";

const LEVELS = { ok: ["good", "OK"], unknown: ["idle", "unknown"], WARN: ["warn", "little margin"], WRONG: ["bad", "wrong"] };
const ON_PICTURE = { line: "#a3b2c2", good: "#4ade80", warn: "#ffc53d" }; // legible in both themes: it is dark or bright by itself
const ORDER = ["WRONG", "WARN", "unknown", "ok"];

export class AimView {
  constructor(chamber) {
    this.chamber = chamber;
    this.canvas = el("canvas.picture", { role: "img", "aria-label": "Outlines of the faces in the picture" });
    this.subjects = el("ul.subjects");
    this.preview = new Preview(chamber, () => this.#draw());
    this.element = el("details.aim", {}, el("summary", {}, "Aim the camera"),
      el("div", {}, el("div", {}, this.canvas, this.preview.element), this.subjects));
    this.element.addEventListener("toggle", () => {
      if (!this.element.open) this.preview.close();
      this.refresh();
    });
    this.shown = "";
  }

  destroy() {
    this.preview.destroy();
  }

  /** Ask the server for its advice, while the panel is open; about once a second. */
  async refresh() {
    if (!this.element.open) return;
    this.preview.render();
    if (this.isAsking) return;
    this.isAsking = true;
    try {
      const response = await get(`/api/aim?${new URLSearchParams({ chamber: this.chamber.name })}`);
      if (response.ok) this.#show((await response.json()).advice);
    } catch { /* the banner says that the server does not answer */ }
    this.isAsking = false;
  }

  #show(advice) {
    this.#draw();
    const state = JSON.stringify(advice);
    if (state === this.shown) return;
    this.shown = state;
    const bySubject = new Map();
    for (const each of advice) bySubject.set(each.subject, [...(bySubject.get(each.subject) ?? []), each]);
    this.subjects.replaceChildren(...[...bySubject].map(([subject, measured]) => {
      const [kind, word] = LEVELS[ORDER.find((level) => measured.some((each) => each.level === level))] ?? ["idle", ""];
      const faults = measured.filter((each) => each.level !== "ok");
      const fine = measured.filter((each) => each.level === "ok").map((each) => `${each.measure} ${each.value}`);
      return el("li", {},
        el("p", {}, el("strong", {}, subject || "camera"), el("span.state", { "data-kind": kind }, word)),
        el("ul", {}, ...faults.map((each) => el("li", { "data-kind": LEVELS[each.level]?.[0] },
          el("b", {}, `${each.measure} ${each.value}`), each.needed ? ` (needed: ${each.needed})` : "", each.text ? `: ${each.text}` : ""))),
        el("p.note", {}, fine.join(" · ")));
    }));
  }

  #draw() {
    const [width, height] = this.chamber.data.size ?? [0, 0];
    const shown = this.canvas.clientWidth;
    if (!width || !shown) return;
    const ratio = devicePixelRatio || 1, scale = (shown / width) * ratio;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const { picture } = this.preview;
    const g = this.canvas.getContext("2d"), c = picture ? ON_PICTURE : palette();
    if (picture) {
      g.drawImage(picture, 0, 0, this.canvas.width, this.canvas.height);
      g.shadowColor = "#000";
      g.shadowBlur = 4 * ratio;
    }
    g.strokeStyle = c.line; g.lineWidth = 2 * ratio;
    g.strokeRect(0, 0, this.canvas.width, this.canvas.height);
    g.font = `${Math.round(parseFloat(getComputedStyle(this.canvas).fontSize) * ratio)}px system-ui, sans-serif`;
    let count = 0;
    for (const card of this.chamber.cards.values()) {
      const { box, in_view: inView, smoothed, reasons, code, seat, track } = card.data;
      if (!inView || !box) continue;
      count += 1;
      const isRead = Boolean(smoothed) && !reasons?.length;
      g.strokeStyle = g.fillStyle = isRead ? c.good : c.warn;
      g.setLineDash(isRead ? [] : [8, 6]);
      g.strokeRect(...box.map((side) => side * scale));
      g.fillText(code ?? seat ?? `track ${track}`, box[0] * scale, Math.max(14 * ratio, box[1] * scale - 5 * ratio));
    }
    attribute(this.canvas, "aria-label", `${picture ? "Picture of the camera, with outlines" : "Outlines"} of ${count} faces${picture ? "" : " in the picture"}`);
  }
}
