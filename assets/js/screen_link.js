// Links every [data-mark] of the scope: pointing at a row or chip, or focusing it, highlights its mark on the screen and
// the other way round; a click or Enter selects it until the next one, Escape ends it. The caption says what it is.
let selected = "";
let hovered = "";
let focused = "";
let chosenByServer = "";
let selectedPart = "";

const keyOf = (target) => target.closest?.("[data-mark]")?.dataset.mark ?? "";
const isOnScreen = (key) => itemsOf(key).some((item) => element.contains(item));

const highlight = () => {
  const active = hovered || focused || selected;
  for (const item of scope.querySelectorAll("[data-mark]")) {
    item.classList.toggle("tw-active", item.dataset.mark === active);
    item.classList.toggle("tw-selected", item.dataset.mark === selected);
    if (item.matches(".tw-row[data-layer]")) item.ariaCurrent = item.dataset.mark === selected ? "true" : null;
  }
  const screen = screenOf();
  if (screen) showCaption(screen, active);
};

const HINT = "Point at a mark or a row to read it here.";
const EDIT_HINT = "Drag a mark or a step's card to its place, or select it and press an arrow key (Shift: 10 px).";

const showCaption = (screen, active) => {
  const row = [...screen.querySelectorAll(".tw-words .tw-row")].find((item) => item.dataset.mark === active);
  const mayEdit = screen.querySelector("[data-editable]") !== null;
  let words = mayEdit ? EDIT_HINT : HINT;
  if (row) {
    words = `${row.querySelector(".tw-sr").textContent} ${row.querySelector(".tw-instruction").textContent}`;
  }
  const at = active === selected ? positionWords(active) : "";
  setText(screen.querySelector(".tw-caption-text"), at ? `${at} · ${words}` : words);
  screen.classList.toggle("tw-has-active", row !== undefined);
  screen.classList.toggle("tw-can-nudge", selected !== "" && isEditable(selected));
};

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const select = (key, part = "") => {
  if (key === selected && part === selectedPart) return;
  const isNew = key !== selected;
  selected = key;
  selectedPart = part;
  highlight();
  if (isNew && (key === "" || isOnScreen(key))) trigger("input", { what: "select", mark: key });
};

// The server may choose a mark, such as a step that was just inserted; saying the same again changes nothing.
const adoptSelection = (screen) => {
  if (screen.dataset.selected === chosenByServer) return;
  chosenByServer = screen.dataset.selected;
  if (chosenByServer && chosenByServer !== selected) [selected, selectedPart] = [chosenByServer, ""];
};

listen(scope, "pointerover", (event) => {
  const key = keyOf(event.target);
  if (key === hovered) return;
  hovered = key;
  highlight();
});
listen(scope, "pointerleave", () => {
  hovered = "";
  highlight();
});
listen(scope, "focusin focusout", (event) => {
  focused = event.type === "focusin" && event.target.matches(":focus-visible") ? keyOf(event.target) : "";
  highlight();
});
listen(scope, "click", (event) => {
  if (justDragged()) return;
  const key = keyOf(event.target);
  if (!key) {
    if (event.target.closest(".tw-frame")) select("");
    return;
  }
  const part = event.target.closest(".tw-pin")?.dataset.part ?? "";
  select(key === selected && part === selectedPart ? "" : key, part);
  if (selected && event.target.closest(".tw-screen")) reveal(selected);
});

const reveal = (key) => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const row = itemsOf(key).find((item) => item.matches(".tw-row") && !element.contains(item));
  row?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
};

listen(scope, "keydown", (event) => {
  const key = keyOf(event.target);
  if (event.key === "Escape" && !cancelDrag()) select("");
  if (event.key === "Enter" && key && event.target.matches("[data-mark]")) {
    event.preventDefault();
    // Enter on a drag goes from its start to its end, and then lets go
    const parts = partsOf(key);
    const next = key === selected ? parts[parts.indexOf(partInHand(key)) + 1] ?? "" : parts[0] ?? "";
    select(key === selected && !next ? "" : key, next);
  }
});
