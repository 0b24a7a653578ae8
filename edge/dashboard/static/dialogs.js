// The dialogs, and the keys: marks, codes, sessions.
import { command, notice, report } from "./api.js";
import { el } from "./dom.js";
import { clock } from "./words.js";

const byId = (id) => document.getElementById(id);

const TYPED = "input:not([type=radio], [type=checkbox]), select, textarea"; // takes keys itself

/** The digit on a key, also where digits need Shift, as on French and Czech keyboards; "": none. */
function digitOf(event) {
  if (/^[1-9]$/.test(event.key)) return event.key;
  const isPlain = !event.shiftKey && !event.getModifierState("AltGraph");
  return isPlain && /^Digit[1-9]$/.test(event.code) ? event.code.at(-1) : "";
}

/** Open a dialog; return the value of the button that closed it ("" after Escape). */
function ask(dialog, focus) {
  dialog.returnValue = "";
  dialog.showModal();
  focus?.focus();
  focus?.select?.();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

export class Actions {
  /** @param store what is shown; @param defaults texts of the keys 1 to 9 from the command line */
  constructor(store, defaults) {
    this.store = store;
    this.defaults = defaults;
    byId("mark-open").addEventListener("click", () => this.mark(null));
    byId("keys-open").addEventListener("click", () => this.editKeys());
    addEventListener("keydown", (event) => this.#onKey(event));
    // Enter in a text field is the dialog's main button, not its first one
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.target.type === "checkbox") return;
        event.preventDefault();
        dialog.querySelector("button.strong").click();
      });
    }
  }

  get texts() {
    try {
      const kept = JSON.parse(localStorage.getItem("marks"));
      if (Array.isArray(kept)) return kept;
    } catch { /* not ours */ }
    return this.defaults;
  }

  get keysAreOn() {
    return localStorage.getItem("keys") !== "off";
  }

  #onKey(event) {
    if (!this.keysAreOn || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector("dialog[open]") || event.target.closest?.(TYPED)) return;
    const digit = digitOf(event);
    if (event.key === "m" || event.key === "M") {
      event.preventDefault();
      this.mark(null);
    } else if (digit) {
      const text = this.texts[Number(digit) - 1];
      if (text) this.#sendMark(text, "");
      else notice(`key ${digit} has no text; see Keys`);
    }
  }

  /** Ask for a text, and mark the moment in one chamber or in all. */
  async mark(chamber) {
    const where = byId("mark-where");
    const chambers = this.store.sorted().filter((each) => each.data.can_ask);
    where.replaceChildren(
      ...(chambers.length > 1 ? [el("option", { value: "" }, "all chambers")] : []),
      ...chambers.map((each) => el("option", { value: each.name }, each.data.device)));
    where.value = chamber?.name ?? where.options[0]?.value ?? "";
    where.parentElement.hidden = chambers.length < 2;
    const text = byId("mark-text");
    if (await ask(byId("mark-dialog"), text) !== "send") return;
    if (await this.#sendMark(text.value, where.value)) text.value = "";
  }

  async #sendMark(text, where) {
    const chambers = this.store.sorted().filter((each) => each.data.can_ask && (where ? each.name === where : each.data.connected));
    if (!chambers.length) {
      notice("no daemon is connected that could record the mark", { bad: true });
      return false;
    }
    const sent = chambers.map((each) => report(
      () => command(each.name, { request: "mark", text }),
      (reply) => `${each.data.device}: marked “${reply.text}” at ${clock(reply.unix_ns / 1e6)}`));
    return (await Promise.all(sent)).every(Boolean);
  }

  /** Edit the texts of the keys 1 to 9, in this browser. */
  async editKeys() {
    const texts = this.texts;
    const inputs = Array.from({ length: 9 }, (_, index) => el("input", { maxlength: 300, value: texts[index] ?? "", "aria-label": `Text of key ${index + 1}`, autocomplete: "off" }));
    byId("keys-texts").replaceChildren(...inputs.map((input, index) => el("div", {}, el("kbd", {}, String(index + 1)), input)));
    byId("keys-on").checked = this.keysAreOn;
    if (await ask(byId("keys-dialog"), inputs[0]) !== "save") return;
    localStorage.setItem("marks", JSON.stringify(inputs.map((input) => input.value.trim())));
    localStorage.setItem("keys", byId("keys-on").checked ? "on" : "off");
    notice("keys kept in this browser");
  }

  /** Give a code to a card's seat or track, or release it. */
  async assign(chamber, card) {
    const { data } = card;
    const seat = card.key.startsWith("s:") ? card.key.slice(2) : data.seat;
    const what = seat ? `whoever sits on ${seat}` : `track ${data.track}`;
    byId("code-what").textContent = `${chamber.data.device}: ${what}${data.code ? `, now ${data.code}` : ""}. It holds from the next picture on.`;
    byId("codes").replaceChildren(...chamber.data.participants.map((each) => el("option", { value: each.participant })));
    byId("code-release").hidden = !card.key.startsWith("p:");
    const input = byId("code-text");
    input.value = "";
    const code = card.key.startsWith("p:") ? card.key.slice(2) : "";
    const chosen = await ask(byId("code-dialog"), input);
    if (chosen === "release") {
      await report(() => command(chamber.name, { request: "participant", action: "release", participant: code }), () => `${code} is released`);
    } else if (chosen === "assign") {
      const participant = input.value.trim();
      const place = seat ? { seat } : { track: data.track ?? Number(card.key.split(".").at(-1)) };
      await report(() => command(chamber.name, { request: "participant", action: "assign", participant, ...place }), () => `${what} is ${participant}`);
    }
  }

  /** Begin or end the baseline of a card's participant. */
  async baseline(chamber, card) {
    const participant = card.key.slice(2);
    const action = card.data.baseline === "learning" ? "stop" : "start";
    await report(
      async () => {
        const reply = await command(chamber.name, { request: "baseline", action, participant });
        if (action === "stop" && reply.baseline !== "ready") throw new Error(`no baseline of ${participant}: ${reply.reason}; start again`);
        return reply;
      },
      () => (action === "start" ? `learning the baseline of ${participant}: a relaxed face for ten seconds or more, then End baseline` : `the baseline of ${participant} is ready`));
  }

  /** Begin a session, or end the running one. */
  async session(chamber) {
    const running = chamber.data.status?.session;
    if (running) {
      await report(() => command(chamber.name, { request: "session", action: "end" }), (reply) => `session ${reply.name} ended: ${reply.frames} pictures`);
      return;
    }
    const name = byId("session-name");
    if (await ask(byId("session-dialog"), name) !== "begin") return;
    const request = { request: "session", action: "begin", name: name.value.trim(), note: byId("session-note").value.trim() };
    if (await report(() => command(chamber.name, request), () => `session ${request.name} began`)) name.value = byId("session-note").value = "";
  }
}
