// Elements, made without markup in strings, and changed only where something differs.

/** Make an element: `el("p.note", { title: "x" }, "text", child)`. */
export function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Set a text if it differs: a write of an equal one would cost a layout. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Set an attribute if it differs; null removes it. */
export function attribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name); else element.setAttribute(name, value);
}

/** Make the children of a place those of a list, in order, without touching those that stay. */
export function arrange(place, elements) {
  elements.forEach((element, index) => {
    if (place.children[index] !== element) place.insertBefore(element, place.children[index] ?? null);
  });
  while (place.children.length > elements.length) place.lastElementChild.remove();
}
