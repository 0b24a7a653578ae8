// Connects to the server, keeps the store, and renders what has changed.
import { get, post } from "./api.js";
import { Actions } from "./dialogs.js";
import { ChamberView, chamberState } from "./chamber.js";
import { cardState } from "./card.js";
import { arrange, attribute, el, text } from "./dom.js";
import { Store } from "./store.js";
import { changeTheme } from "./theme.js";
import { alarmText, clock, eventText } from "./words.js";

const EVENTS_SHOWN = 60;
const MANY = 6; // chambers, beyond which each is shown small
const QUIET_MS = 8000; // the server sends something each five seconds
const LOST_MS = 16_000; // nothing for so long: the connection may have died without a word
const LOST_MAX_MS = 128_000; // the wait grows: a slow network may need long for the first update

const byId = (id) => document.getElementById(id);
const store = new Store();
const views = new Map();
let range = 1800;
let actions = null;
// by two clocks: the time of day may be set back, the other may stand still while the computer sleeps
const moment = () => ({ dayMs: Date.now(), steadyMs: performance.now() });
const msSince = ({ dayMs, steadyMs }) => Math.max(Date.now() - dayMs, performance.now() - steadyMs);
let received = moment();
let connected = moment();
let lostMs = LOST_MS;
let problem = "";

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) target.cardView.visible = isIntersecting;
  schedule();
}, { rootMargin: "200px" });

// -- the connection to the server ----------------------------------------------------------------

let source = null;
let run = "";      // of the server's process
let version = "";  // of its files

function connect() {
  connected = moment();
  source?.close();
  source = new EventSource("/api/stream");
  source.onmessage = (message) => {
    received = moment();
    lostMs = LOST_MS;
    problem = "";
    const isFirst = !store.ready;
    const [server] = message.lastEventId.split("-");
    if (server !== run) readAbout();
    run = server;
    store.apply(JSON.parse(message.data));
    if (document.hidden) inBackground(); else if (isFirst) second(); else schedule();
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) refused();
  };
}

/** Connect anew if nothing comes: a network that has lost the connection tells the browser nothing. */
function reconnectIfLost() {
  if (Math.min(msSince(received), msSince(connected)) < lostMs) return;
  lostMs = Math.min(1.5 * lostMs, LOST_MAX_MS);
  connect();
}

/** The server refuses the stream: ask it why, and try again, or let the token be given. */
async function refused() {
  try {
    const response = await get("/api/about");
    if (response.status === 401) { location.reload(); return; }
    problem = response.ok ? "the server serves no further viewer; trying again" : "";
  } catch {
    problem = "";
  }
  setTimeout(connect, 5000);
}

/** A server's process is new to the page: its keys; load the page anew if its files are of another version. */
async function readAbout() {
  try {
    const response = await get("/api/about");
    if (!response.ok) throw new Error(response.statusText);
    const about = await response.json();
    if (version && about.version !== version) location.reload();
    version = about.version;
    actions.defaults = about.marks;
    byId("logout").hidden = !about.token;
  } catch {
    setTimeout(() => { run = ""; }, 5000); // then with the next update
  }
}

let isScheduled = false;
function schedule() {
  if (isScheduled || document.hidden) return;
  isScheduled = true;
  requestAnimationFrame(() => { isScheduled = false; render(); });
}

// -- histories --------------------------------------------------------------------------------------

const loading = new Set();

async function loadHistory(chamber, card) {
  const version = card.data.history;
  const id = `${chamber.name} ${card.key}`;
  if (loading.has(id) || loading.size >= 3) return;
  loading.add(id);
  const newest = card.series.t.at(-1) ?? -Infinity;
  try {
    const query = new URLSearchParams({ chamber: chamber.name, card: card.key });
    const response = await get(`/api/history?${query}`);
    if (response.ok) {
      const newer = card.series;
      const [t, v, a] = await response.json();
      // what came meanwhile; older points may lie later, where the clock was set back
      const from = newer.t.findIndex((each) => each > Math.max(newest, t.at(-1) ?? -Infinity));
      const later = from < 0 ? [] : newer.t.slice(from).map((each, index) => [each, newer.v[from + index], newer.a[from + index]]);
      newer.load([t, v, a]);
      for (const point of later) newer.add(...point);
      card.loaded = version;
    }
  } catch { /* the connection's banner says so; the next turn tries again */ }
  loading.delete(id);
}

// -- rendering --------------------------------------------------------------------------------------

function render() {
  const nowMs = store.now();
  for (const [name, view] of views) {
    if (store.chambers.get(name) !== view.chamber) { view.destroy(); view.element.remove(); views.delete(name); }
  }
  const chambers = store.sorted();
  const elements = chambers.map((chamber) => {
    let view = views.get(chamber.name);
    if (!view) views.set(chamber.name, view = new ChamberView(chamber, actions, observer));
    view.render(nowMs);
    return view.element;
  });
  elements.push(...unknownServices());
  const empty = byId("empty");
  empty.hidden = elements.length > 0;
  arrange(byId("chambers"), [empty, ...elements]);
  for (const view of views.values()) renderCharts(view, [...view.cards.values()].filter((card) => !card.span), nowMs); // a new card has its axis at once
}

const unknown = new Map();
function unknownServices() {
  const entries = Object.entries(store.unknown).filter(([, reason]) => reason); // "": asked just now
  for (const service of [...unknown.keys()]) if (!(service in store.unknown)) unknown.delete(service);
  return entries.map(([service, reason]) => {
    let element = unknown.get(service);
    if (!element) {
      const state = el("p.state", { "data-kind": "bad" });
      unknown.set(service, element = el("section.chamber.unknown", { "aria-label": service }, el("header", {}, el("h2", {}, service), state)));
      element.state = state;
    }
    text(element.state, `no connection: ${reason}`);
    return element;
  });
}

/** Once a second: charts, ages, the overview, and whether the server is there. */
function second() {
  reconnectIfLost();
  if (document.hidden) { inBackground(); return; }
  const nowMs = store.now();
  render();
  for (const view of views.values()) {
    const { chamber } = view;
    view.aim.refresh();
    for (const card of view.cards.values()) {
      if (card.card.loaded !== card.card.data.history) loadHistory(chamber, card.card);
    }
    renderCharts(view, [...view.cards.values()], nowMs);
  }
  renderAlarms();
  renderSummary(nowMs);
  renderOverview(nowMs);
  renderEvents();
  renderConnection();
  renderTitle(nowMs);
  measureHead();
}

/** Draw the charts of cards of one chamber, all on one axis. */
function renderCharts({ chamber }, cards, nowMs) {
  if (!cards.length) return;
  const end = endOf(chamber, nowMs);
  const events = store.events.filter((event) => event.chamber === chamber.name);
  for (const card of cards) card.renderChart(events, store.eventsChanged, end, range);
}

/** The chamber's time in seconds: that of its messages, which may be a recording's. */
function endOf(chamber, nowMs) {
  let end = -Infinity;
  for (const card of chamber.cards.values()) end = Math.max(end, card.series.t.at(-1) ?? -Infinity);
  const now = nowMs / 1000;
  return end === -Infinity || Math.abs(now - end) < 43200 ? now : end;
}

/** How many faces are in view, and how many of them are not read. */
function counts(nowMs) {
  let people = 0, unread = 0;
  for (const chamber of store.chambers.values()) {
    for (const card of chamber.cards.values()) {
      const [kind] = cardState(card.data, chamber.data.connected, nowMs);
      people += card.data.in_view && chamber.data.connected ? 1 : 0;
      unread += kind === "warn" ? 1 : 0;
    }
  }
  return { people, unread };
}

/** The tab's title: what needs attention first, also where nobody sees the page. */
function renderTitle(nowMs) {
  const [raised] = alarmTexts();
  const silent = store.sorted().find((chamber) => !chamber.data.connected);
  const first = isSilent() ? problem || "no connection to the page's server" : raised ?? (silent && `${silent.data.device}: no connection`);
  const { unread } = counts(nowMs);
  document.title = first ? `▲ ${first}` : unread ? `(${unread}) affect-edge` : "affect-edge";
}

let titledMs = -Infinity;
/** In a hidden tab: its title. Updates and timers call it: a browser may let such timers run once in a minute. */
function inBackground() {
  if (performance.now() - titledMs < 900) return;
  titledMs = performance.now();
  renderTitle(store.now());
}

function renderSummary(nowMs) {
  const { people, unread } = counts(nowMs);
  const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
  const parts = [count(store.chambers.size, "chamber", "chambers"), `${people} in view`];
  if (unread) parts.push(`${unread} not read`);
  let cards = 0;
  for (const chamber of store.chambers.values()) cards += chamber.cards.size;
  document.documentElement.classList.toggle("few", cards <= 6); // larger on a wall
  document.documentElement.classList.toggle("many", store.chambers.size > MANY);
  text(byId("summary"), store.ready ? parts.join(" · ") : "");
}

const tiles = new Map();
function renderOverview(nowMs) {
  const place = byId("overview");
  const chambers = store.sorted();
  place.hidden = chambers.length < 2;
  for (const name of [...tiles.keys()]) if (!store.chambers.has(name)) tiles.delete(name);
  arrange(place, chambers.map((chamber) => {
    let tile = tiles.get(chamber.name);
    if (!tile) {
      tile = el("a", { href: `#chamber-${chamber.name}` }, el("strong"), el("span"));
      tiles.set(chamber.name, tile);
    }
    const [kind, says] = chamberState(chamber.data, nowMs);
    const cards = [...chamber.cards.values()];
    const unread = cards.filter((card) => cardState(card.data, chamber.data.connected, nowMs)[0] === "warn").length;
    attribute(tile, "data-kind", kind === "good" && unread ? "warn" : kind);
    text(tile.firstChild, chamber.data.device ?? "");
    const inView = cards.filter((card) => card.data.in_view).length;
    const people = unread ? `${unread} not read` : inView ? `${inView} in view` : "nobody";
    text(tile.lastChild, chamber.data.connected && chamber.data.status ? `${says} · ${people}` : says);
    return tile;
  }));
}

function alarmTexts() {
  return new Set(store.sorted().flatMap((chamber) => (chamber.data.alarms ?? []).map((alarm) => `${chamber.data.device}: ${alarmText(alarm)}`)));
}

const alarms = new Map();
function renderAlarms() {
  const texts = alarmTexts();
  for (const shown of [...alarms.keys()]) if (!texts.has(shown)) alarms.delete(shown);
  for (const alarm of texts) if (!alarms.has(alarm)) alarms.set(alarm, el("li", {}, alarm)); // only new ones are announced
  byId("alarms").hidden = !texts.size;
  arrange(byId("alarms").firstElementChild, [...texts].map((alarm) => alarms.get(alarm)));
}

/** How much of the window stays covered, for what must not be behind it: on a phone by alarms alone. */
function measureHead() {
  const height = `${byId("head").offsetHeight || byId("alarms").offsetHeight}px`;
  const { style } = document.documentElement;
  if (style.getPropertyValue("--head") !== height) style.setProperty("--head", height);
}

let eventsShown = -1;
function renderEvents() {
  if (eventsShown === store.eventsChanged) return;
  eventsShown = store.eventsChanged;
  const several = store.chambers.size > 1;
  const rows = store.events.slice(-EVENTS_SHOWN).reverse().map((event) => {
    const device = store.chambers.get(event.chamber)?.data.device ?? "";
    return el("li", { "data-event": event.event },
      el("time", {}, clock(event.t_ms)), el("span", {}, several ? `${device}: ` : "", eventText(event)));
  });
  byId("events").replaceChildren(...rows);
}

function isSilent() {
  return msSince(received) > QUIET_MS || problem !== "";
}

let silentSince = "";
function renderConnection() {
  const isBad = isSilent();
  silentSince = isBad ? silentSince || clock(Date.now() - msSince(received)) : "";
  const banner = byId("connection");
  text(banner, isBad ? problem || `the page's server does not answer since ${silentSince}; trying again` : "");
  banner.classList.toggle("bad", isBad);
  document.body.classList.toggle("stale", isBad);
}

// -- start ------------------------------------------------------------------------------------------

for (const input of document.querySelectorAll("input[name=range]")) {
  input.addEventListener("change", () => { range = Number(input.value); localStorage.setItem("range", input.value); second(); });
  if (input.value === localStorage.getItem("range")) { input.checked = true; range = Number(input.value); }
}
byId("theme").addEventListener("click", () => { changeTheme(); second(); });
byId("logout").addEventListener("click", async () => {
  await post("/api/logout", {});
  location.reload();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) second(); });
addEventListener("resize", schedule);

actions = new Actions(store, []);
connect();
setInterval(second, 1000);
// for tests: what the page holds
globalThis.affectEdge = { store };
