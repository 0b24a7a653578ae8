// The camera's picture, while this viewer has opened it: two a second at most, kept nowhere.
import { post } from "./api.js";
import { el, text } from "./dom.js";

const PERIOD_MS = 500;
const OLD_S = 3;
const ENDED = [403, 409, 410]; // it has to be opened again

/** A duration that is left: 4 min 05 s. */
function left(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${seconds} s`;
}

export class Preview {
  /** @param redraw called when there is a new picture, or none any more */
  constructor(chamber, redraw) {
    this.chamber = chamber;
    this.redraw = redraw;
    this.picture = null; // an ImageBitmap
    this.viewer = "";    // the server's word for this viewer; "": closed
    this.untilMs = 0;
    this.ageS = 0;
    this.button = el("button", { type: "button", onclick: () => (this.viewer ? this.close() : this.#open()) }, "Show the picture");
    this.remaining = el("span.note");
    this.says = el("p", { role: "status" });
    this.element = el("div.preview", { hidden: true }, el("div.row", {}, this.button, this.remaining), this.says,
      el("p.note", {}, "While it is open, pictures of everybody in view leave the daemon's memory and come to this page. Nothing is stored; the record gets an event when it is opened and closed."));
    this.ended = new AbortController();
    const { signal } = this.ended;
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.close("closed, since this page was hidden"); }, { signal });
    addEventListener("pagehide", () => this.close(), { signal });
  }

  destroy() {
    this.close();
    this.ended.abort();
  }

  /** Show what is left of the time, and the button where the daemon may allow pictures. */
  render() {
    const { data } = this.chamber;
    // null: its configuration is not known; then a refusal says why
    this.element.hidden = !this.viewer && (data.preview === false || !data.can_ask || !data.connected);
    if (this.viewer && performance.now() >= this.untilMs) this.#end("closed, since its time is over");
    text(this.button, this.viewer ? "Close the picture" : "Show the picture");
    const old = this.picture && this.ageS > OLD_S ? `; this picture is ${Math.round(this.ageS)} s old` : "";
    text(this.remaining, this.viewer ? `${left(this.untilMs - performance.now())} left${old}` : "");
  }

  /** Close it, if it is open, also when the page goes away. */
  close(reason = "") {
    if (!this.viewer) {
      this.isUnwanted = this.isOpening;
      return;
    }
    this.#ask("close", { keepalive: true }).catch(() => {}); // else the server does, in ten seconds
    this.#end(reason);
  }

  #end(reason) {
    this.viewer = "";
    this.#show(null);
    text(this.says, reason);
    this.render();
  }

  #show(picture) {
    this.picture?.close();
    this.picture = picture;
    this.redraw();
  }

  async #ask(action, more = {}) {
    const response = await post("/api/preview", { chamber: this.chamber.name, action, viewer: this.viewer }, more);
    if (response.status === 401) location.reload();
    return response;
  }

  async #open() {
    if (this.isOpening) return;
    this.isOpening = true;
    this.isUnwanted = false;
    this.button.disabled = true;
    text(this.says, "");
    try {
      const response = await this.#ask("open");
      const reply = await response.json();
      if (response.ok) {
        this.viewer = reply.viewer;
        this.untilMs = performance.now() + reply.left_s * 1000;
        text(this.says, "waiting for the first picture");
      } else text(this.says, reply.error);
    } catch {
      text(this.says, "the page's server does not answer");
    }
    this.isOpening = false;
    this.button.disabled = false;
    if (this.isUnwanted || document.hidden) this.close(); // the panel was closed meanwhile
    this.render();
    if (this.viewer) this.#run(this.viewer);
  }

  async #run(viewer) {
    while (this.viewer === viewer) {
      const begunMs = performance.now();
      await this.#fetch(viewer);
      const waitMs = PERIOD_MS - (performance.now() - begunMs);
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  async #fetch(viewer) {
    let reason = "the page's server does not answer";
    try {
      const response = await this.#ask("picture");
      if (response.status === 200) {
        const picture = await createImageBitmap(await response.blob());
        if (this.viewer !== viewer) { picture.close(); return; }
        this.untilMs = performance.now() + Number(response.headers.get("x-left-s")) * 1000;
        this.ageS = Number(response.headers.get("x-age-s"));
        text(this.says, "");
        this.#show(picture);
        return;
      }
      if (response.status === 204 || response.status === 429) return;
      reason = (await response.json()).error;
      if (this.viewer === viewer && ENDED.includes(response.status)) { this.#end(reason); return; }
    } catch { /* the reason is set */ }
    if (this.viewer !== viewer) return;
    text(this.says, reason);
    this.#show(null);
  }
}
