// The screen component in the browser: what is drawn, how large, and where its labels stand.
//
// `element` survives every update; what is inside it is patched by the server, which also undoes what is done here. So
// everything here can be done again at any time: `refresh` runs after every update, before it is painted.
const scope = element.closest(".tw-link") ?? element.closest(".tw-tab") ?? document.body;
scope.twScreen?.abort(); // an earlier component of this scope that is gone
const life = new AbortController();
scope.twScreen = life;
const listen = (target, types, handler) => {
  for (const type of types.split(" ")) target.addEventListener(type, handler, { signal: life.signal });
};
const screenOf = () => element.querySelector(".tw-screen");
const itemsOf = (key) => [...scope.querySelectorAll("[data-mark]")].filter((item) => item.dataset.mark === key);

// ---- the person's choice of what is drawn, kept in this browser for all screens
const STORE = "tracer1.screen";
const readView = () => {
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    // no storage, or not ours: start with everything drawn
  }
  return {
    hidden: Array.isArray(stored.hidden) ? stored.hidden : [],
    horizon: Number.isInteger(stored.horizon) ? stored.horizon : null, // null: all steps
    isTextOnly: stored.isTextOnly === true,
  };
};
let view = readView();

const changeView = (changes) => {
  view = { ...view, ...changes };
  try {
    localStorage.setItem(STORE, JSON.stringify(view));
  } catch {
    // a browser without storage forgets the choice with the page
  }
  document.dispatchEvent(new CustomEvent("tw-view", { detail: view }));
};
listen(document, "tw-view", (event) => {
  view = event.detail; // all screens of the page follow
  refresh();
});
listen(window, "storage", (event) => {
  if (event.key !== STORE) return;
  view = readView();
  refresh();
});
listen(element, "input", ({ target }) => {
  if (target.dataset.layerSwitch) {
    const others = view.hidden.filter((layer) => layer !== target.dataset.layerSwitch);
    changeView({ hidden: target.checked ? others : [...others, target.dataset.layerSwitch] });
  } else if ("horizon" in target.dataset) {
    changeView({ horizon: target.value === target.max ? null : Number(target.value) });
  } else if ("textOnly" in target.dataset) {
    changeView({ isTextOnly: target.checked });
  }
});

const isOff = (item) =>
  view.hidden.includes(item.dataset.layer) ||
  (item.dataset.layer === "forecast" && view.horizon !== null && Number(item.dataset.number) > view.horizon);

const showView = (screen) => {
  for (const box of screen.querySelectorAll("[data-layer-switch]")) {
    box.checked = !view.hidden.includes(box.dataset.layerSwitch);
  }
  const range = screen.querySelector("[data-horizon]");
  if (range) {
    const most = Number(range.max);
    range.value = Math.min(view.horizon ?? most, most);
    range.nextElementSibling.textContent = range.disabled ? "" : `${range.value} of ${most}`;
  }
  const textOnly = screen.querySelector("[data-text-only]");
  if (textOnly) textOnly.checked = view.isTextOnly;
  screen.classList.toggle("tw-text-only", view.isTextOnly);
  for (const item of scope.querySelectorAll("[data-layer]")) item.classList.toggle("tw-off", isOff(item));
};

// ---- marks at their points, equally large at every zoom, and labels that keep out of the way
const moved = new Map(); // key -> what a person moved, see screen_edit.js

const layOut = (screen) => {
  const svg = screen.querySelector(".tw-overlay");
  const box = svg.getBoundingClientRect();
  if (box.width === 0) return; // not shown now; the resize observer comes back
  const unit = svg.viewBox.baseVal.width / box.width;
  const items = [];
  for (const mark of svg.querySelectorAll(".tw-mark")) {
    const points = pointsOf(mark);
    drawMark(mark, points, unit);
    if (!mark.classList.contains("tw-off")) items.push(labelItem(mark, points, unit));
  }
  drawGhosts(svg, unit);
  items.sort((a, b) => a.order - b.order);
  placeLabels(items, { width: box.width, height: box.height }).forEach((spot, i) => drawLabel(items[i], spot, unit));
};

const pointsOf = (mark) => {
  const points = {};
  for (const pin of mark.querySelectorAll(".tw-pin")) {
    const own = moved.get(mark.dataset.mark);
    points[pin.dataset.part] =
      own?.part === pin.dataset.part ? { x: own.x, y: own.y } : { x: Number(pin.dataset.x), y: Number(pin.dataset.y) };
  }
  return points;
};

const drawMark = (mark, points, unit) => {
  const { start, end } = points;
  for (const pin of mark.querySelectorAll(".tw-pin")) {
    const { x, y } = points[pin.dataset.part];
    pin.setAttribute("transform", `translate(${x} ${y}) scale(${unit})`);
  }
  if (!end) return;
  const degrees = (Math.atan2(end.y - start.y, end.x - start.x) * 180) / Math.PI;
  for (const head of mark.querySelectorAll(".tw-head")) head.setAttribute("transform", `rotate(${degrees})`);
  for (const shaft of mark.querySelectorAll(".tw-shaft")) {
    shaft.setAttribute("d", `M${start.x} ${start.y}L${end.x} ${end.y}`);
  }
};

const labelItem = (mark, points, unit) => {
  const text = mark.querySelector(".tw-label text");
  const pill = mark.querySelector(".tw-pill");
  const height = pill.height.baseVal.value;
  const width = Math.max(height, text.getComputedTextLength() + 13);
  const r = Number(mark.dataset.radius);
  const targets = Object.values(points).map(({ x, y }) => ({ x: x / unit, y: y / unit, r }));
  const layers = ["now", "forecast", "reference", "past", "earlier"];
  const order = layers.indexOf(mark.dataset.layer) * 1000 + Number(mark.dataset.number);
  return { mark, pill, r, width, height, targets, order, x: targets[0].x, y: targets[0].y };
};

const drawLabel = ({ mark, pill, r, width, height, x, y }, spot, unit) => {
  pill.setAttribute("width", width);
  pill.setAttribute("x", -width / 2);
  mark.querySelector(".tw-label").setAttribute("transform", `translate(${spot.x * unit} ${spot.y * unit}) scale(${unit})`);
  // a leader joins a label that had to go away with the edge of its shape
  const near = { x: clamp(x, spot.x - width / 2, spot.x + width / 2), y: clamp(y, spot.y - height / 2, spot.y + height / 2) };
  const far = Math.hypot(near.x - x, near.y - y);
  const from = { x: x + ((near.x - x) * r) / far, y: y + ((near.y - y) * r) / far };
  const line = far > r + 8 ? `M${from.x * unit} ${from.y * unit}L${near.x * unit} ${near.y * unit}` : "M0 0";
  for (const leader of mark.querySelectorAll(".tw-leader")) leader.setAttribute("d", line);
};

// A step of the tray that is being put on the image has no mark yet: a plain ring stands for it.
const drawGhosts = (svg, unit) => {
  for (const old of svg.querySelectorAll(".tw-ghost")) old.remove();
  for (const [key, own] of moved) {
    if (itemsOf(key).some((item) => item.matches(".tw-mark"))) continue;
    const ghost = document.createElementNS("http://www.w3.org/2000/svg", "g");
    ghost.setAttribute("class", "tw-ghost");
    ghost.setAttribute("transform", `translate(${own.x} ${own.y}) scale(${unit})`);
    for (const stroke of ["casing", "core", "ink"]) {
      const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      ring.setAttribute("class", `tw-${stroke}`);
      ring.setAttribute("r", 16);
      ghost.append(ring);
    }
    svg.append(ghost);
  }
};

// ---- doing it again after every update
const refresh = () => {
  const screen = screenOf();
  if (screen) {
    settleMoves(screen);
    adoptSelection(screen);
    showView(screen);
    layOut(screen);
  } else {
    forgetMoves();
  }
  highlight();
  updates.takeRecords(); // what was just done here is no update
};
const updates = new MutationObserver(refresh);
const resizes = new ResizeObserver(() => requestAnimationFrame(refresh));
