// What the server has sent: chambers with their cards, events and alarms. Bounded.

const EVENTS_MAX = 600; // as many as the server keeps
const KEPT = /^(mark|epoch_started|(session|baseline|alarm)_.*)$/; // stay longest, as on the server
const TRAIL_MAX = 120;
const FINE_MAX = 1800;   // points of a second; the older half is merged to ten seconds
const COARSE_MAX = 4320; // twelve hours

/** Valence and arousal over time: [seconds, valence, arousal], fine ones at the end. */
export class Series {
  constructor() {
    this.clear();
  }

  clear() {
    this.t = []; this.v = []; this.a = [];
    this.fine = 0; // index of the first point of a second
    this.changed = 0;
  }

  load(columns) {
    this.clear();
    [this.t, this.v, this.a] = columns;
    const end = this.t.at(-1) ?? 0;
    this.fine = this.t.findIndex((t) => t >= end - FINE_MAX / 2);
    if (this.fine < 0) this.fine = 0;
    this.changed += 1;
  }

  add(t, v, a) {
    if (this.t.length && t <= this.t.at(-1)) return;
    this.t.push(t); this.v.push(v); this.a.push(a);
    this.changed += 1;
    if (this.t.length - this.fine > FINE_MAX) this.#merge();
  }

  #merge() {
    const end = this.fine + FINE_MAX / 2;
    const merged = [];
    for (let i = this.fine; i < end; i += 1) {
      const bucket = Math.floor(this.t[i] / 10) * 10;
      const last = merged.at(-1);
      if (last && last[0] === bucket) {
        last[1] += this.v[i]; last[2] += this.a[i]; last[3] += 1;
      } else merged.push([bucket, this.v[i], this.a[i], 1]);
    }
    const keepFrom = Math.max(0, this.fine + merged.length - COARSE_MAX);
    const join = (column, index) => [
      ...column.slice(keepFrom, this.fine), ...merged.map((m) => (index ? m[index] / m[3] : m[0])), ...column.slice(end),
    ];
    const [t, v, a] = [join(this.t, 0), join(this.v, 1), join(this.a, 2)];
    this.fine = this.fine - keepFrom + merged.length;
    this.t = t; this.v = v; this.a = a;
  }
}

export class Card {
  constructor(key) {
    this.key = key;
    this.data = {};
    this.series = new Series();
    this.loaded = -1; // version of the history that the series has
    this.trail = [];  // [ms, raw, smoothed, relative]
    this.read = null; // newest data in which the face was classified
  }

  update(data, nowMs) {
    this.data = data;
    if (!data.smoothed) return;
    this.read = data;
    this.trail.push([nowMs, data.raw, data.smoothed, data.relative]);
    if (this.trail.length > TRAIL_MAX) this.trail.splice(0, this.trail.length - TRAIL_MAX);
  }
}

export class Store {
  constructor() {
    this.chambers = new Map();
    this.events = [];
    this.unknown = {};
    this.offsetMs = 0; // the server's clock minus this browser's
    this.ready = false;
    this.eventsChanged = 0;
  }

  /** The server's time, ms. */
  now() {
    return Date.now() + this.offsetMs;
  }

  apply(update) {
    this.offsetMs = update.now_ms - Date.now();
    if (update.whole) {
      const kept = new Set(Object.keys(update.chambers ?? {}));
      for (const name of [...this.chambers.keys()]) if (!kept.has(name)) this.chambers.delete(name);
      for (const [name, chamber] of this.chambers) {
        for (const key of [...chamber.cards.keys()]) if (!update.cards?.[name]?.[key]) chamber.cards.delete(key);
        for (const card of chamber.cards.values()) card.loaded = -1;
      }
    }
    for (const [name, key] of update.removed ?? []) {
      if (key === "") this.chambers.delete(name);
      else this.chambers.get(name)?.cards.delete(key);
    }
    for (const [name, data] of Object.entries(update.chambers ?? {})) this.#chamber(name).data = data;
    for (const [name, cards] of Object.entries(update.cards ?? {})) {
      const chamber = this.#chamber(name);
      for (const [key, data] of Object.entries(cards)) {
        let card = chamber.cards.get(key);
        if (!card) chamber.cards.set(key, card = new Card(key));
        card.update(data, update.now_ms);
      }
    }
    for (const [name, key, t, v, a] of update.points ?? []) this.chambers.get(name)?.cards.get(key)?.series.add(t, v, a);
    if (update.events) this.#addEvents(update.events, update.whole);
    if (update.unknown) this.unknown = update.unknown;
    this.ready = true;
  }

  #chamber(name) {
    let chamber = this.chambers.get(name);
    if (!chamber) this.chambers.set(name, chamber = { name, data: {}, cards: new Map() });
    return chamber;
  }

  #addEvents(events, whole) {
    const known = new Set(whole ? [] : this.events.map((event) => event.id));
    this.events = [...(whole ? [] : this.events), ...events.filter((event) => !known.has(event.id))];
    this.events.sort((one, other) => one.t_ms - other.t_ms);
    while (this.events.length > EVENTS_MAX) {
      const oldest = this.events.findIndex((event) => !KEPT.test(event.event));
      this.events.splice(Math.max(0, oldest), 1);
    }
    this.eventsChanged += 1;
  }

  /** Chambers in order of their names. */
  sorted() {
    return [...this.chambers.values()].sort((one, other) => (one.data.device ?? "").localeCompare(other.data.device ?? "", undefined, { numeric: true }));
  }
}
