// Everything by keyboard: one table of what can be done, shown by "?", each key to be changed. What a person changed is
// kept in this browser under their login name, for several may share it.
const KEYS_KEY = "tracer1.annotate.keys";
const stepEdit = (name, more = {}) => () => edit({ name, ...more });
const toggleMark = (name) => () => {
  const box = byId("an-fields").querySelector(`[data-mark-name=${name}]`);
  if (box && !box.disabled) edit({ name: "mark", mark: name, is_on: !box.checked });
};
const focusField = (name) => () => {
  const field = byId("an-editor").querySelector(`[data-field=${name}]`);
  field?.focus();
  field?.select?.();
};
const focusMark = () => byId("an-screen").querySelector(".an-rows .tw-recorded")?.focus();
const pairWith = (by) => () => work && edit({ name: "screen", value: work.keys[work.place + by] ?? "" });

const COMMANDS = {
  next: ["Next step", "ArrowRight", () => goBy(1)],
  back: ["Step before", "ArrowLeft", () => goBy(-1)],
  first: ["First step", "Home", () => work && goTo(work.keys[0])],
  last: ["Last step", "End", () => work && goTo(work.keys.at(-1))],
  undo: ["Undo", "Ctrl+z", () => edit("undo")],
  redo: ["Redo", "Ctrl+Shift+Z", () => edit("redo")],
  submit: ["Submit, or accept", "Ctrl+Enter", () => work && finish({ annotate: "submit", fix: "fix", review: "accept" }[work.mode])],
  mark: ["Take the mark in hand: arrows move it, Shift by 10 px", "m", focusMark],
  point: ["Point tool", "p", () => chooseTool("point")],
  target: ["Draw the target's box", "b", () => chooseTool("target")],
  private_box: ["Draw a private box", "x", () => chooseTool("private")],
  type: ["To the action's type", "t", focusField("type")],
  arguments: ["To the arguments", "a", focusField("arguments")],
  instruction: ["To the instruction", "i", focusField("instruction")],
  thought: ["To the thought", "h", focusField("thought")],
  goal: ["To the goal", "g", focusField("goal")],
  insert: ["Insert a step after this one", "n", stepEdit("insert")],
  insert_before: ["Insert a step before this one", "Shift+N", stepEdit("insert", { before: true })],
  duplicate: ["Duplicate the step", "d", stepEdit("duplicate")],
  delete: ["Delete the step", "Delete", stepEdit("delete")],
  split: ["Split the step", "s", stepEdit("split")],
  merge: ["Merge with the next step", "j", stepEdit("merge")],
  earlier: ["Move the step back", "Alt+ArrowLeft", stepEdit("move", { by: -1 })],
  later: ["Move the step on", "Alt+ArrowRight", stepEdit("move", { by: 1 })],
  screen_before: ["Pair with the screen of the step before", "[", pairWith(-1)],
  screen_after: ["Pair with the screen of the next step", "]", pairWith(1)],
  correct: ["Mark correct", "1", toggleMark("correct")],
  incorrect: ["Mark incorrect", "2", toggleMark("incorrect")],
  redundant: ["Mark redundant", "3", toggleMark("redundant")],
  ambiguous: ["Mark ambiguous", "4", toggleMark("ambiguous")],
  private: ["Mark private", "5", toggleMark("private")],
  interruption: ["Mark as interruption", "6", toggleMark("interruption")],
  forecast: ["Ask the planner", "f", () => workActions.forecast()],
  ground: ["Ground the instruction", "o", () => workActions.ground()],
  history: ["History", "v", () => work && showHistory()],
  list: ["Back to the list", "l", () => work && closeWork()],
  keys: ["This list", "?", () => openKeys()],
};
let keysPlace = ""; // where this browser keeps the keys of who is logged in; known with the server's first answer
let chosenKeys = {}; // command -> key; "" turns it off
const useKeysOf = (person) => {
  const place = person ? `${KEYS_KEY}.${person}` : KEYS_KEY;
  if (place !== keysPlace) chosenKeys = kept(place, {});
  keysPlace = place;
};
const keyOfCommand = (name) => chosenKeys[name] ?? COMMANDS[name][1];

// "Ctrl+Shift+Z" as the event has it; Shift is told of letters and named keys only, for "?" is typed with it.
const pressed = (event) => {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (event.key.length > 1 || /\p{L}/u.test(event.key))) parts.push("Shift");
  return [...parts, event.key].join("+");
};

const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable=true]";
const onKey = (event) => {
  const dialog = byId("an-keys");
  if (event.defaultPrevented || !work || tab.offsetParent === null || !dialog || dialog.open) return;
  if (event.key === "Escape") {
    if (cancelDraw()) return;
    if (event.target.matches?.(TYPING)) event.target.blur();
    return;
  }
  const key = pressed(event);
  const name = Object.keys(COMMANDS).find((command) => keyOfCommand(command) === key);
  if (!name) return;
  const isTyping = event.target.closest?.(TYPING);
  if (isTyping && !["Ctrl+Enter"].includes(key)) return; // letters, arrows and undo belong to the text
  const isMarkInHand = event.target.closest?.("[data-mark]") && key.startsWith("Arrow");
  if (isMarkInHand && isEditing()) return;
  event.preventDefault();
  COMMANDS[name][2]();
};

// ---- the list
let listening = ""; // the command that waits for its new key
const drawKeys = () => {
  const dialog = byId("an-keys");
  const rows = Object.entries(COMMANDS).map(([name, [words]]) => {
    const row = document.createElement("tr");
    const [label, cell] = [document.createElement("th"), document.createElement("td")];
    label.scope = "row";
    label.textContent = words;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "tr-small" });
    button.dataset.rebind = name;
    button.textContent = listening === name ? "press a key …" : keyOfCommand(name) || "none";
    button.setAttribute("aria-label", `${words}: ${button.textContent}`);
    cell.append(button);
    row.append(label, cell);
    return row;
  });
  dialog.querySelector("tbody").replaceChildren(...rows);
};
const openKeys = () => {
  const dialog = byId("an-keys");
  if (!dialog.firstChild) {
    dialog.innerHTML =
      '<h2>Keys of the editor</h2><p class="tr-help">Press a key\'s button, then the new key; Backspace turns it off. Kept in this browser under your login name. In a text field only Ctrl+Enter and Escape act.</p><div class="tr-wide"><table class="tr-table"><tbody></tbody></table></div><p class="tr-buttons"><button type="button" class="tr-button" data-reset-keys>As they were</button><button type="button" class="tr-button tr-primary" data-close-keys autofocus>Close</button></p>';
    dialog.addEventListener("click", onKeysClick);
    dialog.addEventListener("keydown", onKeysKey);
  }
  listening = "";
  drawKeys();
  dialog.showModal();
};
const onKeysClick = (event) => {
  const { target } = event;
  if (target.dataset.closeKeys !== undefined) return byId("an-keys").close();
  if (target.dataset.resetKeys !== undefined) for (const name of Object.keys(chosenKeys)) delete chosenKeys[name];
  listening = target.dataset.rebind ?? "";
  keep(keysPlace, chosenKeys);
  drawKeys();
  byId("an-keys").querySelector(`[data-rebind="${listening}"]`)?.focus();
};
const onKeysKey = (event) => {
  if (!listening || ["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
  const name = listening;
  listening = "";
  if (event.key !== "Escape") {
    const key = event.key === "Backspace" ? "" : pressed(event);
    for (const other of Object.keys(COMMANDS)) if (key && keyOfCommand(other) === key) chosenKeys[other] = ""; // one key, one meaning
    chosenKeys[name] = key;
    keep(keysPlace, chosenKeys);
  }
  drawKeys();
  byId("an-keys").querySelector(`[data-rebind="${name}"]`)?.focus();
};
