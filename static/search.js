// Conveniences of the search page: parts of the sentence that open and close, addresses without empty fields, bars to draw a range on.
"use strict";

const search = document.getElementById("search");
search.addEventListener("formdata", (event) => {
  const dated = event.formData.get("from") || event.formData.get("to");
  for (const [name, value] of [...event.formData]) if (!value || (name === "when" && dated)) event.formData.delete(name);
});

const floating = () => [...document.querySelectorAll(".part > details[open], .saved[open]")];
document.addEventListener("click", (event) => {
  for (const open of floating()) if (!open.contains(event.target)) open.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of floating()) { open.open = false; open.querySelector("summary").focus(); }
});
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.matches(".part details, .saved")) event.target.querySelector(":scope > :not(.menu, .time) :is(input:not([type=hidden]), select)")?.focus();
}, true);

// A ledger that keeps itself up to date is put in anew: whoever stood on a row of it stands there again.
let stood = null;
document.addEventListener("htmx:beforeSwap", () => { stood = document.activeElement.closest("#ledger a")?.getAttribute("href"); });
document.addEventListener("htmx:afterSwap", () => {
  const link = stood && [...document.querySelectorAll("#ledger a")].find((one) => one.getAttribute("href") === stood);
  if (!link) return;
  link.focus({ preventScroll: true });
  link.closest("tr")?.classList.add("here");
});

const spread = document.querySelector(".spread");
if (spread) draw(spread, spread.querySelector("svg"));

function draw(figure, svg) {
  const { from, to, bars } = figure.dataset;
  const width = (Date.parse(to) - Date.parse(from)) / bars;
  const bar = (event) => {
    const box = svg.getBoundingClientRect();
    return Math.min(bars - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * bars)));
  };
  let start = null;
  let moved = false;
  const range = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  range.setAttribute("class", "range");
  range.setAttribute("height", "40");

  svg.addEventListener("dragstart", (event) => event.preventDefault()); // a link would be dragged away
  svg.addEventListener("pointerdown", (event) => {
    if (event.button === 0) { start = { bar: bar(event), x: event.clientX }; moved = false; }
  });
  addEventListener("pointermove", (event) => {
    if (!start || (!moved && Math.abs(event.clientX - start.x) < 4)) return;
    moved = true;
    const [first, last] = [start.bar, bar(event)].sort((a, b) => a - b);
    range.setAttribute("x", String(first * 1000 / bars));
    range.setAttribute("width", String((last - first + 1) * 1000 / bars));
    svg.append(range);
  });
  addEventListener("pointercancel", () => { start = null; range.remove(); });
  addEventListener("pointerup", (event) => {
    if (!start) return;
    const [first, last] = [start.bar, bar(event)].sort((a, b) => a - b);
    start = null;
    range.remove();
    if (moved) narrow(new Date(Date.parse(from) + first * width), new Date(Date.parse(from) + (last + 1) * width - 1000));
  });
  svg.addEventListener("click", (event) => { if (moved) event.preventDefault(); }, true);
}

function narrow(first, last) {
  const address = new URL(location.href);
  for (const name of ["when", "cursor", "since"]) address.searchParams.delete(name);
  address.searchParams.set("from", first.toISOString().slice(0, 19) + "Z");
  address.searchParams.set("to", last.toISOString().slice(0, 19) + ".999999Z");
  location.assign(address);
}
