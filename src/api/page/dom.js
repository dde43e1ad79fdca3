// Elements from data: text is always text, never markup, whoever wrote it.

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** An element of HTML. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Sets a text only where it is another, so that nothing is touched in vain. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Tells whoever cannot see it. */
export function announce(text) {
  const said = document.getElementById("said");
  said.textContent = "";
  said.textContent = text;
}

/** Tells everybody, for a while. */
export function toast(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  // As a popover it is above every dialog.
  if (!toast.matches(":popover-open")) toast.showPopover();
  announce(text);
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => toast.hidePopover(), 6000);
}

/** The address of a view, from names that anybody may have chosen. */
export function address(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/** A table with its titles; cells are texts or elements. */
export function table(caption, titles, rows, attributes = {}) {
  const head = h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title))));
  const body = h("tbody", {}, rows);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", attributes, h("caption", { class: "unseen" }, caption), head, body));
}

/** Puts children in this order; one that stands where it should is not touched. */
export function arrange(parent, wanted) {
  if (parent.childElementCount === 0) {
    parent.append(...wanted);
    return;
  }
  let at = parent.firstElementChild;
  for (const child of wanted) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}
