// Owns what is looked for in a document: whatever stored text could have made of it, and the text itself as one can read it there.
(twin) => {
  const acting = /[\p{Cs}\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff0-\ufffb\ufffd\uffa0\u{e0000}-\u{e0fff}]/u;
  const leading = ["href", "src", "action", "formaction", "data", "xlink:href", "srcset", "poster", "background", "ping", "cite"];
  const kind = (element) => [element.localName, element.getAttribute("class") ?? "", ...element.getAttributeNames().sort()].join(" ");

  function shape(root) {
    const counts = {};
    // Whether a value is folded depends on its length as JSON, which quotes and backslashes change.
    const fold = "details.fold, details.fold > summary, details.fold > summary *";
    for (const element of root.querySelectorAll("head *, body, body *:not(.hidden-char)")) if (!element.matches(fold)) counts[kind(element)] = (counts[kind(element)] ?? 0) + 1;
    return counts;
  }

  const problems = [];
  if (typeof window.pwned !== "undefined") problems.push("window.pwned is set");
  for (const script of document.scripts) {
    if (!script.nonce || !script.src.startsWith(location.origin + "/static/") || script.textContent) problems.push("script: " + script.outerHTML);
  }
  for (const element of document.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      if (name.startsWith("on") || name === "style" || name === "srcdoc") problems.push(`attribute ${name} on ${kind(element)}`);
      if (leading.includes(name) && new URL(value, location).origin !== location.origin) problems.push(`${name} leads to ${value}`);
      // A field of a form has to hold what is sent again exactly, and it is a box that nothing inside it can leave.
      if (acting.test(value) && !(element.localName === "input" && ["name", "value"].includes(name))) problems.push(`hidden character in ${name} of ${kind(element)}`);
    }
  }
  const texts = document.createTreeWalker(document, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_COMMENT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    if (acting.test(data)) problems.push(`hidden character in a text of ${kind(parentElement)}: ${JSON.stringify(data.slice(0, 80))}`);
  }
  const differs = [];
  if (twin) {
    const wanted = shape(new DOMParser().parseFromString(twin, "text/html"));
    const found = shape(document);
    for (const each of new Set([...Object.keys(wanted), ...Object.keys(found)])) {
      if (wanted[each] !== found[each]) differs.push(`${found[each] ?? 0} instead of ${wanted[each] ?? 0}: ${each}`);
    }
  }
  const reads = (node) => node.nodeType === Node.TEXT_NODE ? node.data
    : node.classList?.contains("hidden-char") ? String.fromCodePoint(parseInt(node.title.slice(2), 16)) : [...node.childNodes].map(reads).join("");
  const readable = [...document.querySelectorAll("bdi")].map(reads);
  return {
    problems, differs, readable,
    copies: [...document.querySelectorAll("[data-copy]")].map((button) => decodeURIComponent(button.dataset.copy)),
    violations: window.violations ?? [],
    badges: document.querySelectorAll(".hidden-char").length,
  };
}
