// Requests to the server, and the short notices that report their outcome.

const ANSWER_MS = 30_000; // a lost connection ends no request by itself; a daemon's answer takes 3 s at most

/** Ask for something; return the response. */
export function get(path) {
  return fetch(path, { signal: AbortSignal.timeout(ANSWER_MS) });
}

/** Send JSON; return the response. */
export function post(path, body, more = {}) {
  return fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(ANSWER_MS), ...more });
}

/** Send a request that changes the record; return the reply. Throws an Error that says why not. */
export async function command(chamber, request) {
  let response;
  try {
    response = await post("/api/command", { chamber, request });
  } catch {
    throw new Error("the page's server does not answer; the events show whether it was done");
  }
  if (response.status === 401) location.reload();
  const reply = await response.json();
  if (!response.ok) throw new Error(reply.error);
  return reply;
}

/** Show a notice; errors stay longer, and are announced at once. */
export function notice(text, { bad = false } = {}) {
  const shown = document.createElement("p");
  shown.className = bad ? "toast bad" : "toast";
  if (bad) shown.setAttribute("role", "alert");
  shown.textContent = text;
  const place = document.getElementById("toasts");
  place.append(shown);
  while (place.children.length > 4) place.firstChild.remove();
  setTimeout(() => shown.remove(), bad ? 12000 : 5000);
}

/** Do something, and show its outcome, or why it failed. */
export async function report(action, done) {
  try {
    notice(done(await action()));
    return true;
  } catch (error) {
    notice(error.message, { bad: true });
    return false;
  }
}
