// Conveniences of the decision page: which step one reads, shown in the waterfall; quotations; answers opened in place.
"use strict";

const marks = new Map([...document.querySelectorAll(".map a")].map((link) => [Number(link.getAttribute("href").split("#step-")[1]), link]));
const numbers = [...marks.keys()].sort((a, b) => a - b);

const reading = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    const number = Number(entry.target.id.slice(5));
    const nearest = numbers.filter((one) => one <= number).pop();
    for (const link of marks.values()) link.classList.toggle("here", link === marks.get(nearest));
  }
}, { rootMargin: "-10% 0px -70% 0px" });

function watch(root) {
  if (marks.size) for (const row of root.querySelectorAll(".row[id]")) reading.observe(row);
}
watch(document);
document.addEventListener("htmx:afterSettle", () => watch(document));

// What a step says, with where it stands: for a letter or a ticket. What hides in the text is shown as its code, like on the page.
function quotation(row) {
  const said = row.querySelector(".prose, .slip");
  const lines = [...said.innerText.trim().split("\n")].map((line) => `> ${line}`);
  const page = document.querySelector("[data-quoted]").dataset;
  const time = row.querySelector(".clock time");
  const link = new URL(row.querySelector("a.n").getAttribute("href"), location.href);
  return `${lines.join("\n")}\n\n${decodeURIComponent(page.quoted)}, step ${row.id.slice(5)}${time ? `, ${time.title}` : ""}\n${link}`;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-quote]");
  if (button) {
    await navigator.clipboard.writeText(quotation(button.closest(".row")));
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "quote"; }, 1500);
  }
  const close = event.target.closest("[data-close]");
  if (close) {
    event.preventDefault();
    shut(close.closest(".reasons"));
  }
  const why = event.target.closest("a.why");
  const open = why && document.getElementById(`why-${why.dataset.step}`);
  if (open && open.children.length) { event.preventDefault(); event.stopImmediatePropagation(); shut(open); }
}, true);

function shut(box) {
  const link = box.closest(".row").querySelector("a.why");
  box.replaceChildren();
  link.setAttribute("aria-expanded", "false");
  link.focus();
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (!event.detail.target.matches(".reasons")) return;
  event.detail.target.closest(".row").querySelector("a.why").setAttribute("aria-expanded", "true");
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const row = document.querySelector(".row.here") || event.target.closest(".row");
  if (event.key === "w" && row) row.querySelector("a.why")?.click();
  if (event.key === "c" && row) row.querySelector("button[data-quote]")?.click();
  if (event.key === "Escape") { const box = event.target.closest(".reasons"); if (box) shut(box); }
});
