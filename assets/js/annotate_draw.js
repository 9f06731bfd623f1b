// Pointing and drawing on the screenshot: a click sets the action's point, a drag both ends of a drag, and the box tools
// draw the target's box or a private one. Marks that are there are moved by the screen component itself.
const DRAW_PX = 4; // a pointer that moved less was clicking
let tool = "point";
let rubber = null; // {from, id, box} while something is drawn

const drawingOf = () => byId("an-screen").querySelector("[data-takes]")?.dataset.takes ?? "";
const TOOL_NOTES = {
  point: { point: "Click the screenshot to set the point, or drag the mark.", ends: "Drag on the screenshot from start to end.", "": "This action needs no place." },
  target: "Drag a box around what the action is meant for.",
  private: "Drag a box around what is private: exports blur it.",
};
const showTool = () => {
  for (const item of byId("an-drawing").querySelectorAll("[data-tool]")) item.setAttribute("aria-pressed", item.dataset.tool === tool);
  const note = tool === "point" ? TOOL_NOTES.point[drawingOf()] ?? "" : TOOL_NOTES[tool];
  byId("an-tool-note").textContent = note;
  byId("an-screen").classList.toggle("an-draws", isEditing() && (tool !== "point" || drawingOf() !== ""));
};
const chooseTool = (name) => {
  tool = tool === name && name !== "point" ? "point" : name;
  showTool();
};

const placeOn = (event) => {
  const box = byId("an-screen").querySelector(".tw-overlay").getBoundingClientRect();
  return {
    x: Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)),
    y: Math.min(1, Math.max(0, (event.clientY - box.top) / box.height)),
  };
};

const onDrawStart = (event) => {
  if (!isEditing() || event.button !== 0 || !event.target.closest(".tw-frame")) return;
  if (tool === "point" && (event.target.closest("[data-editable]") || !drawingOf())) return;
  event.preventDefault();
  event.stopPropagation(); // else the component would drag the mark below
  const box = document.createElement("div");
  box.className = tool === "point" ? "an-rubber an-rubber-line" : "an-rubber";
  byId("an-screen").querySelector(".tw-frame").append(box);
  rubber = { from: placeOn(event), x: event.clientX, y: event.clientY, id: event.pointerId, box, isMoving: false };
};
const onDraw = (event) => {
  if (!rubber || event.pointerId !== rubber.id) return;
  rubber.isMoving ||= Math.hypot(event.clientX - rubber.x, event.clientY - rubber.y) >= DRAW_PX;
  const [a, b] = [rubber.from, placeOn(event)];
  const percent = (value) => `${100 * value}%`;
  Object.assign(rubber.box.style, {
    left: percent(Math.min(a.x, b.x)), top: percent(Math.min(a.y, b.y)),
    width: percent(Math.abs(a.x - b.x)), height: percent(Math.abs(a.y - b.y)),
  });
};
let drawEnded = 0;
const onDrawEnd = (event) => {
  if (!rubber || event.pointerId !== rubber.id) return;
  const [from, to, isMoving] = [rubber.from, placeOn(event), rubber.isMoving];
  cancelDraw();
  drawEnded = performance.now();
  if (tool !== "point") {
    if (!isMoving) return;
    edit({ name: tool, value: [from.x, from.y, to.x, to.y] });
    return chooseTool("point");
  }
  if (drawingOf() === "point") return edit({ name: "point", part: "point", to });
  if (isMoving) edit({ name: "ends", start: from, end: to });
  else edit({ name: "point", part: "end", to });
};
const cancelDraw = () => {
  if (!rubber) return false;
  rubber.box.remove();
  rubber = null;
  return true;
};

// What the screen component hears of a mark that was moved, of the step or of a forecast.
const onScreen = (type, data) => {
  if (type !== "input" || data.what !== "move" || !data.mark.startsWith("recorded-")) return;
  edit({ name: "point", part: data.part, to: { x: data.x, y: data.y } });
};

const bindDrawing = () => {
  const box = byId("an-screen");
  box.addEventListener("pointerdown", onDrawStart, true);
  window.addEventListener("pointermove", onDraw);
  window.addEventListener("pointerup", onDrawEnd);
  window.addEventListener("pointercancel", cancelDraw);
  // the click that ends a drawing is no click on the screen, which would let go of the mark
  box.addEventListener("click", (event) => performance.now() - drawEnded < 50 && event.stopPropagation(), true);
};
