// Keyboard shortcuts of the Episode tab, and the dialog that lists them. They are ignored while one types, while a
// control has the focus that uses the key itself, while the tab is hidden, and when the person has turned them off.
const dialog = element.querySelector("dialog");
const isOn = element.querySelector("input[type=checkbox]");
isOn.checked = window.localStorage.getItem("tw-keys") !== "off";
isOn.addEventListener("change", () => window.localStorage.setItem("tw-keys", isOn.checked ? "on" : "off"));
element.querySelector("[data-open]").addEventListener("click", () => dialog.showModal());

const ways = { ArrowLeft: "back", ArrowRight: "on", Home: "first", End: "last", m: "miss" };
const typing = "input, textarea, select, [contenteditable=true], [role=combobox], [role=listbox], [role=slider]";
const pressing = "button, a[href], summary, label";

const next = () => {
  for (const id of ["ep-act", "ep-forecast"]) {
    const button = document.getElementById(id);
    if (button && !button.disabled) return button;
  }
  return null;
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (element.offsetParent === null || dialog.open || event.target.closest(typing)) return;
  if (event.key === "?") {
    dialog.showModal();
  } else if (!isOn.checked) {
    return;
  } else if (event.key === " ") {
    if (event.target.closest(pressing)) return;
    if (!event.repeat) next()?.click();
  } else if (event.key in ways) {
    trigger("input", { what: "go", to: ways[event.key] });
  } else {
    return;
  }
  event.preventDefault();
});
