// Clicks, the form of a new evaluation, and the clock that keeps the lists up to date.
const POLL_MS = 2000;
const partsSeen = {};
let results = "";
let isAsking = false;

const makeScreen = SCREEN_SCRIPT;

const lookNow = async () => {
  if (isAsking || !byId("cmp-stored") || !byId("cmp-runs")) return;
  isAsking = true;
  const answer = await ask("look", question({ seen: partsSeen }));
  isAsking = false;
  if (!answer) return;
  for (const [part, { hash, html }] of Object.entries(answer.parts)) {
    morph(byId(`cmp-${part}`), html);
    partsSeen[part] = hash;
  }
  showChosen(); // it may have changed while the answer was on its way
  const hasFailed = byId("cmp-comparison").hasAttribute("data-failed");
  if (hasFailed || (results && results !== answer.results)) refreshComparison();
  results = answer.results;
  byId("cmp-num-queued").textContent = answer.num_queued;
  const known = new Set(answer.known);
  if (!view.shown && view.chosen.some((id) => !known.has(id))) choose(view.chosen.filter((id) => known.has(id)));
};

// ---- a new evaluation
const collectForm = () => {
  const form = byId("cmp-form").querySelector("form");
  if (!form) return null;
  const fields = Object.fromEntries([...new FormData(form)].filter(([name]) => name !== "agents"));
  return { ...fields, agents: new FormData(form).getAll("agents") };
};
const startForm = async () => {
  if (byId("cmp-form").querySelector("form")) return;
  const answer = await ask("form", {});
  if (!answer || byId("cmp-form").querySelector("form")) return;
  byId("cmp-form").innerHTML = answer.html;
  hideOffline();
  planSoon();
};
// on-policy benchmarks make their own tasks: what is asked of recorded ones alone is put away
const hideOffline = () => {
  const form = byId("cmp-form").querySelector("form");
  const isOnPolicy = form.dataset.onPolicy.split(" ").includes(form.elements.protocol.value);
  for (const field of form.querySelectorAll("[data-offline]")) field.hidden = isOnPolicy;
};
const planSoon = debounced(() => trigger("plan", { form: collectForm() }), 250);

// ---- actions
const savedNames = () => [...tab.querySelectorAll("[data-open]")].map((link) => link.dataset.open);
const sendAction = (button) => {
  const { act, name, number } = button.dataset;
  if (act === "queue") return sendToQueue();
  if (act === "unqueue") return trigger("act", { act, number: Number(number) });
  if (act === "launch") return trigger("act", { act, form: collectForm() });
  if (act === "delete") return confirm(`Delete the saved comparison ${name}?`) && trigger("act", { act, name });
  const wanted = prompt("Save this comparison under the name", view.shown);
  if (!wanted) return;
  const replace = savedNames().includes(wanted);
  if (replace && !confirm(`Replace the comparison saved as ${wanted}?`)) return;
  trigger("act", { act: "save", name: wanted, replace, ...question({ shown: "" }) });
};

const onClick = (event) => {
  const link = event.target.closest("[data-open]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    return openSaved(link.dataset.open);
  }
  const button = event.target.closest("button");
  if (!button || !tab.contains(button)) return;
  const { dataset } = button;
  if (dataset.act) sendAction(button);
  else if (dataset.cmpTab) choosePanel(dataset.cmpTab);
  else if (dataset.report) download(dataset.report);
  else if (dataset.flips !== undefined) {
    choosePair(JSON.stringify([dataset.benchmark, dataset.a, dataset.b]), dataset.right);
    choosePanel("flips");
  } else if (dataset.flip) showFlip(dataset.flip);
  else if (dataset.go) goFlip(Number(dataset.go));
  else if (dataset.side) {
    Object.assign(view, { right: dataset.side, flip: "" });
    flipOffset = 0;
    keepView();
    refreshFlips();
  } else if (dataset.offset) {
    flipOffset = Number(dataset.offset);
    refreshFlips();
  } else if (dataset.clear !== undefined) choose([]);
  else if (dataset.copy !== undefined) copyCommand(button);
  else if (dataset.dismiss !== undefined) button.closest(".tr-message").remove();
};

const onChange = (event) => {
  const { target } = event;
  if (target.dataset.choose) {
    const others = view.chosen.filter((id) => id !== target.dataset.choose);
    choose(target.checked ? [...others, target.dataset.choose] : others);
  } else if (target.id === "cmp-allow") {
    view.allow = target.checked;
    view.shown = "";
    changed();
  } else if (target.id === "cmp-pair") {
    choosePair(target.value);
    refreshFlips();
  }
};

const onKey = (event) => {
  onFlipKey(event);
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || !event.target.dataset.cmpTab) return;
  const tabs = [...tab.querySelectorAll("[data-cmp-tab]")];
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  next.focus();
  choosePanel(next.dataset.cmpTab);
};

// What an action led to: a saved comparison is shown, a queued sample is marked, and the lists are asked again.
let lastMessage = "";
const onMessage = () => {
  const message = byId("cmp-message")?.querySelector("[data-at]");
  if (!message || message.dataset.at === lastMessage) return;
  lastMessage = message.dataset.at;
  if (message.dataset.turnTo) {
    view.shown = message.dataset.turnTo;
    keepView();
    showLink();
  }
  if (view.panel === "flips" && view.flip) {
    refreshFlip();
    refreshFlips();
  }
  if (view.panel === "new") planSoon();
  lookNow();
  message.scrollIntoView({ block: "nearest" });
};

if (!tab.dataset.compareStarted) {
  tab.dataset.compareStarted = "yes";
  tab.addEventListener("click", onClick);
  tab.addEventListener("change", onChange);
  tab.addEventListener("keydown", onKey);
  whenThere("cmp-message", (box) => new MutationObserver(onMessage).observe(box, { childList: true, subtree: true }));
  whenThere("cmp-runs", () => {
    byId("cmp-form").addEventListener("input", hideOffline);
    byId("cmp-form").addEventListener("input", planSoon);
    const linked = new URLSearchParams(location.search).get("comparison");
    choosePanel(view.panel);
    if (linked) openSaved(linked);
    else changed();
  });
  setInterval(() => isVisible() && lookNow(), POLL_MS);
}
