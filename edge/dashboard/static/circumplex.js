// The circumplex: valence to the right, arousal up, with a fading trail.
import { palette } from "./theme.js";

const TRAIL_MS = 10000;
const TAU = 2 * Math.PI;

/** Draw a card's trail and its newest point on a canvas. */
export function drawCircumplex(canvas, trail, nowMs, isLive) {
  const ratio = devicePixelRatio || 1;
  const side = canvas.clientWidth;
  if (!side) return;
  if (canvas.width !== Math.round(side * ratio)) canvas.width = canvas.height = Math.round(side * ratio);
  const g = canvas.getContext("2d");
  const c = palette();
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, side, side);
  const middle = side / 2, radius = middle - side * 0.13;
  const at = ([v, a]) => [middle + v * radius, middle - a * radius];

  g.lineWidth = Math.max(1, side / 180);
  g.strokeStyle = c.line;
  g.beginPath(); g.arc(middle, middle, radius, 0, TAU); g.stroke();
  g.beginPath(); g.arc(middle, middle, radius / 2, 0, TAU); g.globalAlpha = 0.5; g.stroke(); g.globalAlpha = 1;
  g.beginPath(); g.moveTo(middle - radius, middle); g.lineTo(middle + radius, middle);
  g.moveTo(middle, middle - radius); g.lineTo(middle, middle + radius); g.stroke();
  g.fillStyle = c.dim;
  g.font = `${Math.round(side * 0.066)}px system-ui, sans-serif`;
  g.textAlign = "center"; g.textBaseline = "middle";
  const edge = side * 0.042;
  g.fillText("excited", middle, edge); g.fillText("calm", middle, side - edge);
  g.save(); g.translate(edge, middle); g.rotate(-Math.PI / 2); g.fillText("unpleasant", 0, 0); g.restore();
  g.save(); g.translate(side - edge, middle); g.rotate(Math.PI / 2); g.fillText("pleasant", 0, 0); g.restore();

  const recent = trail.filter(([ms]) => nowMs - ms < TRAIL_MS);
  if (!recent.length) return;
  g.lineCap = "round";
  g.strokeStyle = c.accent;
  g.lineWidth = side / 60;
  for (let i = 1; i < recent.length; i += 1) {
    if (recent[i][0] - recent[i - 1][0] > 1500) continue;
    g.globalAlpha = 0.85 * (1 - (nowMs - recent[i][0]) / TRAIL_MS) ** 1.5;
    g.beginPath(); g.moveTo(...at(recent[i - 1][2])); g.lineTo(...at(recent[i][2])); g.stroke();
  }
  const [, raw, smoothed, relative] = recent.at(-1);
  g.globalAlpha = isLive ? 1 : 0.35;
  g.lineWidth = side / 110;
  g.strokeStyle = c.text;
  g.beginPath(); g.arc(...at(raw), side / 50, 0, TAU); g.stroke();
  if (relative) {
    const [x, y] = at(relative), r = side / 26;
    g.fillStyle = c.relative;
    g.beginPath(); g.moveTo(x, y - r); g.lineTo(x + r, y); g.lineTo(x, y + r); g.lineTo(x - r, y); g.fill();
  }
  g.fillStyle = c.accent;
  g.beginPath(); g.arc(...at(smoothed), side / 24, 0, TAU); g.fill();
  g.lineWidth = side / 90; g.strokeStyle = c.card;
  g.beginPath(); g.arc(...at(smoothed), side / 24, 0, TAU); g.stroke();
  g.globalAlpha = 1;
}
