// Codes of messages in plain words. Tests compare these with the daemon's vocabulary.

export const EXPRESSIONS = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"];

export const QUALITY = {
  too_small: "too small",
  blurred: "blurred",
  too_dark: "too dark",
  too_bright: "too bright",
  saturated: "overexposed",
  turned_away: "turned away",
  outside_frame: "at the edge of the picture",
  inference_failed: "the network failed",
};

export const HEALTH = {
  source_stalled: "the camera is open, but gives no new picture",
  source_absent: "the camera cannot be opened",
  source_restarting: "the camera's process was lost and starts again",
  no_frames: "nothing has been published for too long",
  rate: "fewer pictures a second than the camera should give",
  picture_dark: "the picture is dark: lens covered, or lamp off?",
  picture_flat: "the picture has no detail: fog or paper in front of the lens?",
  picture_frozen: "the camera gives the same picture again and again",
  picture_still: "the file gives the same picture again and again",
  stalls: "the camera stalled within the last hour",
  restarts: "the camera's process was lost within the last hour",
  throttled: "the board is throttled",
  rate_limited: "pictures are left out to cool the board or to spare its voltage",
  swap_possible: "pictures in memory could be written to swap",
  journal_memory: "messages do not reach the disk and are kept in memory",
  journal_nearly_full: "the journal is nearly full, and a logger is behind",
};

export const THROTTLED = {
  under_voltage: "voltage too low",
  frequency_capped: "frequency capped",
  throttled: "throttled",
  soft_temperature_limit: "soft temperature limit",
};

export const SOURCE = {
  starting: "starting",
  waiting: "waiting for a subscriber",
  running: "running",
  stalled: "no new picture",
  absent: "no camera",
  restarting: "starts again",
  ended: "ended",
};

export const PICTURE = { normal: "", dark: "picture dark", flat: "picture without detail", frozen: "picture frozen", still: "picture still" };

export const LIMIT = {
  source: "the camera's rate",
  camera: "too few pictures from the camera",
  capture: "reading the pictures",
  detector: "the detector",
  classifier: "the expression network",
  temperature: "temperature",
  under_voltage: "voltage",
};

export const BASELINE = { none: "no baseline", learning: "learning …", ready: "baseline ready", invalid: "baseline invalid" };

// why something is not known of the eyes
export const LIDS = { too_short: "known after a minute", too_seldom: "measured too seldom" };

/** A duration in words of two units at most: 40 s, 2 min, 3 h 20 min. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} days`;
  return minutes % 60 && hours < 24 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** Local time of day. */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** A number of bytes in words. */
export function size(bytes) {
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
}

/** A code in words; an unknown one of a later daemon stays readable. */
export function words(table, code) {
  return table[code] ?? String(code).replaceAll("_", " ");
}

const EVENTS = {
  epoch_started: (d) => `daemon started${d.version ? `, version ${d.version}` : ""}`,
  epoch_ended: () => "daemon ended",
  worker_started: () => "networks loaded",
  worker_lost: (d) => `camera's process lost: ${words({}, d.reason)}`,
  worker_unkillable: () => "the camera's driver hangs: reboot the board",
  source_state: (d) => `camera ${words(SOURCE, d.state)}${d.reason ? `: ${d.reason}` : ""}`,
  picture_state: (d) => (d.state === "normal" ? "picture normal again" : d.reason || words(PICTURE, d.state)),
  rate_limited: (d) => (d.divisor > 1 ? `every ${d.divisor}. picture: ${words(LIMIT, d.reason)}` : "all pictures again"),
  schedule_changed: (d) =>
    d.bound_by.length
      ? `${lessWords(d)}: ${d.bound_by.map((by) => words(LIMIT, by)).join(", ")}`
      : "all faces are read in each picture again",
  clock_step: (d) => `clock jumped by ${(d.step_ns / 1e9).toFixed(2)} s`,
  mark: (d) => d.text,
  participant_assigned: (d) => `track ${d.track} is ${d.participant}`,
  seat_assigned: (d) => `${d.seat} is ${d.participant}`,
  participant_track_ended: (d) => `${d.participant} is not in view`,
  participant_track_returned: (d) => `${d.participant} is in view${d.away_s ? ` after ${duration(d.away_s * 1000)}` : ""}`,
  participant_released: (d) => `${d.participant} released`,
  baseline_started: (d) => `${d.participant}: baseline begins`,
  baseline_ready: (d) => `${d.participant}: baseline ready`,
  baseline_invalid: (d) => `${d.participant}: no baseline: ${d.reason}`,
  session_began: (d) => `session ${d.name} began`,
  session_resumed: (d) => `session ${d.name ?? ""} goes on`,
  session_ended: (d) => `session ${d.name ?? ""} ended`,
  journal_state: (d) => (d.state === "ok" ? "journal on disk again" : `journal in memory: ${d.reason}`),
  journal_gap: (d) => `messages missing: ${words({}, d.reason)}`,
  inference_failed: (d) => `network failed: ${d.reason}`,
  preview_opened: (d) => `preview open for ${d.minutes} min at most`,
  preview_closed: (d) => `preview closed: ${words({}, d.reason)}`,
  eyes_closed: (d) => `${whose(d)}: eyes closed for ${duration(d.closed_s * 1000)}`,
  eyes_opened: (d) => `${whose(d)}: eyes open again after ${duration(d.closed_s * 1000)}`,
  eyes_lost: (d) => `${whose(d)}: eyes were closed, not known any more: ${words({}, d.reason)}`,
  alarm_raised: (d) => `alarm: ${alarmText(d)}`,
  alarm_cleared: (d) => `alarm over: ${alarmText(d)}`,
};

/** What is done less for a picture, where `schedule_changed` says so. */
function lessWords(detail) {
  if (detail.faces_per_frame) return `${detail.faces_per_frame} faces are read in a picture, in turns`;
  if (detail.mesh_every === 0) return "heads and eyes are not measured";
  return detail.mesh_every > 1 ? "heads and eyes are measured less often" : "fewer searches for new faces";
}

/** Whose eyes an event is about. */
function whose(detail) {
  return detail.participant ?? detail.seat ?? `track ${detail.track}`;
}

/** An event in words. */
export function eventText(event) {
  const text = EVENTS[event.event]?.(event.detail);
  return text ?? words({}, event.event) + (event.detail.reason ? `: ${event.detail.reason}` : "");
}

/** An alarm in words; its text is without the subject. */
export function alarmText({ subject, text }) {
  return subject ? `${subject}: ${text}` : text;
}
