// Dark first; light where the operator or the system prefers it.
const kept = localStorage.getItem("theme");
const light = kept ? kept === "light" : matchMedia("(prefers-color-scheme: light)").matches;
document.documentElement.dataset.theme = light ? "light" : "dark";

/** Change between dark and light, and remember the choice in this browser. */
export function changeTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "light" ? "dark" : "light";
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("theme"));
}

let colours = null;
addEventListener("theme", () => { colours = null; });

/** Colours of the theme for canvases, by name. */
export function palette() {
  if (colours === null) {
    const style = getComputedStyle(document.documentElement);
    const names = ["text", "dim", "line", "valence", "arousal", "accent", "relative", "good", "warn", "card"];
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  return colours;
}
