// Valence and arousal over minutes to hours, with marks.
import uPlot from "./vendor/uplot/uPlot.esm.js";
import { palette } from "./theme.js";
import { eventText } from "./words.js";

const SHOWN = new Set(["mark", "session_began", "session_ended", "baseline_started", "baseline_ready", "baseline_invalid", "epoch_started"]);
const GAP_S = 25;

export class Timeline {
  #plot = null;
  #drawn = "";
  #marks = [];
  #em = 0;

  constructor(place) {
    this.place = place;
  }

  destroy() {
    this.#plot?.destroy();
    this.#plot = null;
  }

  /** First and last second of the axis; null: not drawn yet. */
  get span() {
    return this.#plot && [this.#plot.scales.x.min, this.#plot.scales.x.max];
  }

  /** Draw what is new. `end` is the chamber's time in seconds, `range` the seconds to show. */
  draw(series, events, eventsVersion, end, range) {
    const width = this.place.clientWidth;
    const height = this.place.clientHeight;
    if (!width || !height) return;
    const em = parseFloat(getComputedStyle(this.place).fontSize);
    if (em !== this.#em) { this.destroy(); this.#em = em; } // uPlot takes its fonts once
    const step = range > 3600 ? 10 : 1; // a wide chart moves less often
    const shownEnd = Math.ceil(end / step) * step;
    const state = `${em} ${series.changed - (series.changed % step)} ${eventsVersion} ${shownEnd} ${range} ${width} ${height} ${document.documentElement.dataset.theme}`;
    if (state === this.#drawn) return;
    this.#drawn = state;
    const begin = shownEnd - range; // the same for all cards, however much there is of each
    this.#marks = events.filter((event) => SHOWN.has(event.event) && event.t_ms / 1000 >= begin);
    let data = columns(series, begin);
    if (!data[0].length) data = [[begin, shownEnd], [null, null], [null, null]]; // without data uPlot draws no axis
    if (this.#plot === null) this.#plot = this.#make(width, height, data, begin, shownEnd);
    if (this.#plot.width !== width || this.#plot.height !== height) this.#plot.setSize({ width, height });
    this.#plot.batch(() => {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: begin, max: shownEnd });
    });
  }

  #make(width, height, data, min, max) {
    const em = this.#em;
    const axis = { stroke: () => palette().dim, grid: { stroke: () => palette().line, width: 1 }, ticks: { show: false }, font: `${Math.round(em)}px system-ui, sans-serif` };
    return new uPlot({
      width, height,
      padding: [em * 0.8, em * 1.4, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true, auto: false, min, max }, y: { range: [-1, 1] } },
      axes: [
        { ...axis, size: em * 1.9, gap: em * 0.2, space: em * 5, values: (_, splits) => splits.map(time) },
        { ...axis, size: em * 2.2, gap: em * 0.2, splits: () => [-1, 0, 1], values: () => ["−1", "0", "+1"] },
      ],
      series: [
        {},
        { stroke: () => palette().valence, width: Math.max(1.5, em / 8), points: { show: false } },
        { stroke: () => palette().arousal, width: Math.max(1.5, em / 8), points: { show: false } },
      ],
      hooks: { draw: [(plot) => this.#drawMarks(plot)] },
    }, data, this.place);
  }

  #drawMarks(plot) {
    const g = plot.ctx, box = plot.bbox, colours = palette();
    g.save();
    g.font = plot.axes[0].font[0];
    g.textBaseline = "top";
    g.textAlign = "left";
    let free = -Infinity;
    for (const event of this.#marks) {
      const x = Math.round(plot.valToPos(event.t_ms / 1000, "x", true));
      if (x < box.left || x > box.left + box.width) continue;
      const isMark = event.event === "mark";
      g.strokeStyle = g.fillStyle = isMark ? colours.text : colours.dim;
      g.globalAlpha = isMark ? 0.8 : 0.5;
      g.setLineDash(isMark ? [] : [4, 4]);
      g.lineWidth = devicePixelRatio;
      g.beginPath(); g.moveTo(x, box.top); g.lineTo(x, box.top + box.height); g.stroke();
      const text = eventText(event);
      const shown = text.length > 18 ? `${text.slice(0, 17)}…` : text;
      const width = g.measureText(shown).width;
      if (isMark && x > free && x + width + 6 < box.left + box.width) {
        g.globalAlpha = 1;
        g.fillText(shown, x + 4, box.top + 2);
        free = x + width + 10;
      }
    }
    g.restore();
  }
}

function time(seconds) {
  const date = new Date(seconds * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return date.getSeconds() ? `${text}:${two(date.getSeconds())}` : text;
}

/** The columns from a time on, with a hole where nothing was read. */
function columns(series, begin) {
  let low = 0, high = series.t.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (series.t[middle] < begin - GAP_S) low = middle + 1; else high = middle;
  }
  const t = [], v = [], a = [];
  for (let i = low; i < series.t.length; i += 1) {
    const hole = i >= series.fine ? 3 : GAP_S;
    if (t.length && series.t[i] - t.at(-1) > hole) { t.push(t.at(-1) + 1); v.push(null); a.push(null); }
    t.push(series.t[i]); v.push(series.v[i]); a.push(series.a[i]);
  }
  return [t, v, a];
}
