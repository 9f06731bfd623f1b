// Moving marks: by dragging, by arrow keys, by the buttons under the screen; a step of the tray is put on the image by
// dragging its chip there. Only what carries data-editable moves. The server decides: it hears of each move once, and
// until it draws the mark elsewhere the moved place is shown, at most PATIENCE_MS.
const PATIENCE_MS = 2000;
const PAUSE_MS = 300; // keys that follow faster than this are one move
const DRAG_PX = 4; // a pointer that moved less was clicking

let drag = null;
let dragEnded = 0;
let waiting = null; // {key, timer} of a move by keys that is not sent yet
let shownImage = "";

const isEditable = (key) => itemsOf(key).some((item) => element.contains(item) && "editable" in item.dataset);
const markOf = (key) => itemsOf(key).find((item) => item.matches(".tw-mark"));
const partsOf = (key) => {
  const mark = markOf(key);
  return mark ? Object.keys(pointsOf(mark)) : isEditable(key) ? ["point"] : [];
};
const partInHand = (key) => (partsOf(key).includes(selectedPart) ? selectedPart : partsOf(key)[0]);
const justDragged = () => performance.now() - dragEnded < 50;
const frameOf = () => {
  const svg = element.querySelector(".tw-overlay");
  return { box: svg.getBoundingClientRect(), size: svg.viewBox.baseVal };
};

const positionWords = (key) => {
  const part = partInHand(key);
  if (!part || !markOf(key)) return "";
  const { x, y } = pointsOf(markOf(key))[part];
  const [left, top] = [Math.min(Math.floor(x), frameOf().size.width - 1), Math.min(Math.floor(y), frameOf().size.height - 1)];
  return `${part === "point" ? "" : part + " "}${left}, ${top} px`;
};

// The place of a mark's part as the server last drew it; "" for a step that has none.
const drawnAt = (key, part) => {
  const pin = markOf(key)?.querySelector(`.tw-pin[data-part="${part}"]`);
  return pin ? `${pin.dataset.x} ${pin.dataset.y}` : "";
};

const put = (key, part, x, y) => {
  const { size } = frameOf();
  const own = moved.get(key);
  const base = own?.part === part ? own.base : drawnAt(key, part);
  moved.set(key, { part, base, x: clamp(x, 0, size.width), y: clamp(y, 0, size.height), until: Infinity });
  refresh();
};

const send = (key) => {
  const own = moved.get(key);
  if (!own) return;
  const { size } = frameOf();
  own.until = performance.now() + PATIENCE_MS;
  setTimeout(refresh, PATIENCE_MS + 50);
  trigger("input", { what: "move", mark: key, part: own.part, x: own.x / size.width, y: own.y / size.height });
};

// Drops the moves that the server has answered, those it has not answered in time, and those of another screen.
const settleMoves = (screen) => {
  const image = screen.querySelector(".tw-frame img")?.src ?? ""; // none where only text is seen
  for (const [key, own] of moved) {
    const isOfAnotherScreen = image !== shownImage || !isEditable(key);
    const isInHand = own.until === Infinity; // not sent yet: an answer to an earlier move does not end it
    if (isInHand) own.base = drawnAt(key, own.part);
    const isSettled = drawnAt(key, own.part) !== own.base || performance.now() >= own.until;
    if (!isOfAnotherScreen && !isSettled) continue;
    moved.delete(key);
    if (drag?.key === key) drag = null;
  }
  shownImage = image;
};
const forgetMoves = () => {
  moved.clear();
  drag = null;
};

// ---- by dragging
listen(element, "pointerdown", (event) => {
  const item = event.target.closest(".tw-mark[data-editable], .tw-chip[data-editable]");
  if (!item || event.button !== 0) return;
  const key = item.dataset.mark;
  const part = event.target.closest(".tw-pin")?.dataset.part ?? partsOf(key)[0];
  const { box, size } = frameOf();
  let [dx, dy] = [0, 0]; // from the pointer to the point, so that the mark does not jump under it
  if (item.matches(".tw-mark")) {
    const point = pointsOf(item)[part];
    dx = point.x - ((event.clientX - box.left) / box.width) * size.width;
    dy = point.y - ((event.clientY - box.top) / box.height) * size.height;
  }
  drag = { key, part, dx, dy, fromX: event.clientX, fromY: event.clientY, id: event.pointerId, isMoving: false };
});
// the window hears of a pointer that is faster than the mark, and outside of the page
listen(window, "pointermove", (event) => {
  if (!drag || event.pointerId !== drag.id) return;
  if (!drag.isMoving) {
    if (Math.hypot(event.clientX - drag.fromX, event.clientY - drag.fromY) < DRAG_PX) return;
    drag.isMoving = true;
    element.setPointerCapture(drag.id);
    select(drag.key, drag.part);
  }
  event.preventDefault();
  const { box, size } = frameOf();
  const x = ((event.clientX - box.left) / box.width) * size.width + drag.dx;
  const y = ((event.clientY - box.top) / box.height) * size.height + drag.dy;
  put(drag.key, drag.part, x, y);
});
listen(window, "pointerup", (event) => {
  if (!drag || event.pointerId !== drag.id) return;
  const { key, isMoving } = drag;
  const { box } = frameOf();
  const isOnImage =
    event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
  if (isMoving && !markOf(key) && !isOnImage) {
    cancelDrag(); // a chip that was dropped beside the image stays where it was
    return;
  }
  drag = null;
  if (!isMoving) return;
  dragEnded = performance.now();
  send(key);
});
listen(window, "pointercancel", () => cancelDrag());

// Whether there was a drag to give up.
const cancelDrag = () => {
  if (!drag) return false;
  moved.delete(drag.key);
  if (drag.isMoving) dragEnded = performance.now();
  drag = null;
  refresh();
  return true;
};

// ---- by keys and buttons
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const nudge = (key, dx, dy) => {
  const { size } = frameOf();
  const mark = markOf(key);
  const part = partInHand(key);
  const own = moved.get(key);
  const from = mark ? pointsOf(mark)[part] : own ?? { x: size.width / 2, y: size.height / 2 };
  put(key, part, from.x + dx, from.y + dy);
  setText(element.querySelector(".tw-spoken"), positionWords(key));
  clearTimeout(waiting?.timer);
  if (waiting && waiting.key !== key) send(waiting.key);
  waiting = { key, timer: setTimeout(sendWaiting, PAUSE_MS) };
};
const sendWaiting = () => {
  send(waiting.key);
  waiting = null;
};

listen(scope, "keydown", (event) => {
  const key = keyOf(event.target);
  const arrow = ARROWS[event.key];
  if (!arrow || !key || key !== selected || !isEditable(key) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  event.stopPropagation(); // these keys also step through an episode
  const step = event.shiftKey ? 10 : 1;
  nudge(key, arrow[0] * step, arrow[1] * step);
});
listen(element, "click", (event) => {
  const button = event.target.closest(".tw-nudge button");
  if (button && isEditable(selected)) nudge(selected, Number(button.dataset.dx), Number(button.dataset.dy));
});

refresh();
updates.observe(element, { childList: true, subtree: true, attributes: true, characterData: true });
updates.observe(scope, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-mark", "class"] });
resizes.observe(element);
listen(window, "resize", refresh);
life.signal.addEventListener("abort", () => [updates, resizes].forEach((observer) => observer.disconnect()));
