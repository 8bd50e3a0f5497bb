// Conveniences on top of pages that work without them: keys, copying, and a select that applies itself.
"use strict";
document.documentElement.classList.add("js");

// Outside TLS and localhost a browser has no clipboard: then there are no such buttons.
if (navigator.clipboard) document.documentElement.classList.add("copies");
for (const button of document.querySelectorAll("button[data-copy]")) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    const place = "at" in button.dataset ? location.hash : ""; // the step that one came for
    await navigator.clipboard.writeText(decodeURIComponent(button.dataset.copy) + place); // percent-encoded, see the filter `exact`
    button.textContent = "copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}

for (const field of document.querySelectorAll("[data-submit]")) {
  field.addEventListener("change", () => field.form.submit());
}

const rows = [...document.querySelectorAll(".ledger tbody tr, .steps > .row[id]")];
let here = -1;

function move(by) {
  if (!rows.length) return;
  here = Math.min(rows.length - 1, Math.max(0, here + by));
  for (const row of rows) row.classList.remove("here");
  rows[here].classList.add("here");
  const target = rows[here].querySelector("a.open, a.n");
  if (target) target.focus({ preventScroll: true });
  rows[here].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const box = document.querySelector("[data-focus]");
  if (event.key === "/" && box) { event.preventDefault(); box.focus(); box.select(); }
  if (event.key === "j") move(1);
  if (event.key === "k") move(-1);
});
