// The flips of one pair: the list, and the sample that is shown with both forecasts.
let flipIds = [];
let flipOffset = 0;

const flipQuestion = (more = {}) => question({ ...view.pair, right: view.right, flip: view.flip, ...more });

// The pairs that may be looked at are those of the comparison that is shown.
const fillPairs = () => {
  const pairs = new Map();
  for (const { dataset } of byId("cmp-comparison").querySelectorAll("[data-flips]")) {
    const { benchmark, a, b } = dataset;
    pairs.set(JSON.stringify([benchmark, a, b]), `${b} against ${a} · ${benchmark}`);
  }
  const list = byId("cmp-pair");
  list.replaceChildren(...[...pairs].map(([value, words]) => new Option(words, value)));
  const wanted = view.pair && JSON.stringify([view.pair.benchmark, view.pair.a, view.pair.b]);
  if (!pairs.has(wanted)) choosePair(pairs.size ? [...pairs.keys()][0] : null);
  else list.value = wanted;
  if (view.panel === "flips") refreshFlips();
};

const choosePair = (value, right = "") => {
  const [benchmark, a, b] = value ? JSON.parse(value) : [];
  Object.assign(view, { pair: value ? { benchmark, a, b } : null, right: value ? right || b : "", flip: "" });
  flipOffset = 0;
  if (value) byId("cmp-pair").value = value;
  keepView();
};

const refreshFlips = async () => {
  const list = byId("cmp-flip-list");
  byId("cmp-pair").disabled = !view.pair;
  if (!view.pair) {
    list.innerHTML = '<div class="tw-empty"><h3>No flips</h3><p>Compare two evaluations of which one got something right that the other did not.</p></div>';
    byId("cmp-flip").replaceChildren();
    return;
  }
  const asked = flipQuestion({ offset: flipOffset });
  const answer = await ask("flips", asked);
  if (!answer || JSON.stringify(asked) !== JSON.stringify(flipQuestion({ offset: flipOffset }))) return;
  flipIds = answer.ids;
  morph(list, answer.html);
  if (!flipIds.includes(view.flip)) view.flip = "";
  if (!view.flip) {
    byId("cmp-flip").innerHTML = '<div class="tw-empty"><h3>No sample is open</h3><p>Choose one in the list: both forecasts are drawn on its screenshot.</p></div>';
  } else if (shownFlip !== flipKey()) refreshFlip();
};

let shownFlip = "";
const flipKey = () => JSON.stringify([view.pair, view.flip]);
const refreshFlip = async (hasFocus = false) => {
  const key = flipKey();
  const answer = await ask("flip", flipQuestion());
  if (!answer || key !== flipKey()) return;
  shownFlip = key;
  const box = byId("cmp-flip");
  for (const host of box.querySelectorAll(".tw-host")) host.twScreen?.abort(); // they listen to the page, too
  box.innerHTML = answer.html;
  for (const host of box.querySelectorAll(".tw-host")) makeScreen(host, () => {});
  const place = flipIds.indexOf(view.flip);
  for (const button of box.querySelectorAll("[data-go]")) {
    button.disabled = !(place + Number(button.dataset.go) in flipIds);
  }
  if (hasFocus) box.querySelector("h3").focus();
};

const showFlip = async (id) => {
  view.flip = id;
  keepView();
  for (const row of tab.querySelectorAll("[data-flip]")) row.ariaCurrent = row.dataset.flip === id ? "true" : null;
  await refreshFlip(true);
};

// Another sample of the same list; the list turns to the page that holds it.
const goFlip = async (by) => {
  const place = flipIds.indexOf(view.flip) + by;
  if (!(place in flipIds)) return;
  flipOffset = place;
  await showFlip(flipIds[place]);
  refreshFlips();
};

const onFlipKey = (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest("[data-flip]");
  if (!by || !row) return;
  event.preventDefault();
  const rows = [...byId("cmp-flip-list").querySelectorAll("[data-flip]")];
  rows[rows.indexOf(row) + by]?.focus();
};

const sendToQueue = () => {
  const sample = byId("cmp-flip").querySelector("[data-sample]");
  if (sample) trigger("act", { act: "queue", ...flipQuestion({ flip: sample.dataset.sample }) });
};
