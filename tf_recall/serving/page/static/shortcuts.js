// Keys: "/" goes to the search of the view, arrows go through a list.

const isText = (node) => node?.closest?.("input, textarea, select, [contenteditable]");

export function listen() {
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isText(event.target))
      return;
    const fields = [...document.querySelectorAll("[data-search] input, input[data-search]")];
    const field = fields.find((each) => each.offsetParent !== null);
    if (field) {
      event.preventDefault();
      field.focus();
    }
  });
}

export function throughRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const rows = [...event.currentTarget.querySelectorAll(".row-item")];
  const next = rows[rows.indexOf(document.activeElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}
