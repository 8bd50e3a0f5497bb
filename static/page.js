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

// Rows are looked up each time: a ledger that keeps itself up to date has others a moment later.
function move(by) {
  const rows = [...document.querySelectorAll(".ledger tbody tr, .steps > .row[id]")].filter((row) => row.querySelector("a.open, a.n"));
  if (!rows.length) return;
  const focused = document.activeElement.closest(".ledger tbody tr, .steps > .row[id]");
  const before = rows.indexOf(focused ?? document.querySelector("tr.here, .row.here"));
  const row = rows[before < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, before + by))];
  for (const one of document.querySelectorAll("tr.here, .row.here")) one.classList.remove("here");
  row.classList.add("here");
  row.querySelector("a.open, a.n").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

// The list of keys as a dialog. Without a script it opens in place.
function explain() {
  const list = document.querySelector("#keys dl");
  if (!list) return;
  const dialog = document.createElement("dialog");
  const title = Object.assign(document.createElement("h2"), { textContent: "Keyboard", id: "keys-title" });
  const close = Object.assign(document.createElement("button"), { textContent: "Close", type: "button", className: "quiet" });
  dialog.className = "keys";
  dialog.setAttribute("aria-labelledby", "keys-title");
  dialog.append(title, list.cloneNode(true), close);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, select, textarea, [contenteditable]") || document.querySelector("dialog[open]")) return;
  const box = document.querySelector("[data-focus]");
  if (event.key === "/" && box) { event.preventDefault(); box.focus(); box.select(); }
  if (event.key === "j") move(1);
  if (event.key === "k") move(-1);
  if (event.key === "?") { event.preventDefault(); explain(); }
});
