// Clicks, tabs, and the clock that keeps the page up to date.
const POLL_MS = 1000;
const panels = { curves: refreshCurves, rollouts: refreshLens, log: refreshLog, settings: refreshSettings };
const partsSeen = {};
let isAsking = false;
let isAskedAgain = false;

const show = (id) => {
  if (view.shown !== id) stopReplay();
  view.shown = id;
  keepView();
  showView();
  byId("tr-head").setAttribute("aria-busy", "true"); // until the answer is there
  for (const item of tab.querySelectorAll(".tr-run")) item.classList.toggle("tr-shown", item.dataset.id === id);
  lookNow();
};

const showView = () => {
  tab.dataset.view = view.shown === "new" ? "new" : view.shown ? "run" : "none";
  const button = tab.querySelector("[data-show=new]");
  button?.setAttribute("aria-current", view.shown === "new");
  for (const item of tab.querySelectorAll("[data-tab]")) {
    const isChosen = item.dataset.tab === view.panel;
    item.setAttribute("aria-selected", isChosen);
    item.tabIndex = isChosen ? 0 : -1;
  }
  for (const panel of tab.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== view.panel;
};

const choosePanel = (name) => {
  view.panel = name;
  keepView();
  showView();
  refreshPanel();
};
const refreshPanel = () => (shownRun() ? panels[view.panel]() : undefined);

const look = async () => {
  const answer = await ask("look", { shown: shownRun(), compared: view.compared, seen: partsSeen });
  if (!answer) return;
  for (const [part, { hash, html }] of Object.entries(answer.parts)) {
    morph(byId(`tr-${part}`), html);
    partsSeen[part] = hash;
  }
  const known = new Set(answer.known);
  view.compared = view.compared.filter((id) => known.has(id));
  if (view.shown !== "new" && !known.has(view.shown)) {
    view.shown = known.size ? answer.known[0] : "new";
    showView();
    return look();
  }
  byId("tr-head").removeAttribute("aria-busy");
  await refreshPanel();
};

const lookNow = async () => {
  if (!byId("tr-charts") || !byId("tr-runs")) return;
  if (isAsking) {
    isAskedAgain = true;
    return;
  }
  isAsking = true;
  lastError = "";
  try {
    await look();
    tell(lastError);
  } catch (error) {
    tell(`The server does not answer (${error.message}); runs go on without it. Trying again.`);
  } finally {
    isAsking = false;
  }
  if (isAskedAgain) {
    isAskedAgain = false;
    lookNow();
  }
};

const sendAction = (button) => {
  const { act, run = "", place } = button.dataset;
  const question = { act, run };
  if (place) question.place = Number(place);
  if (act === "kill" && !confirm(`Kill ${run}? Steps after its last checkpoint are lost (it is at step ${button.dataset.step}).`)) return;
  if (act === "launch" || act === "save-config") question.form = collectForm();
  if (act === "save-config") {
    question.name = prompt("Save these settings under the name");
    if (!question.name) return;
    const taken = [...launchForm().elements.config.options].some((option) => option.value === question.name);
    if (taken && !confirm(`Replace the settings saved as ${question.name}?`)) return;
    question.replace = taken;
  }
  if (act === "delete-config") {
    question.config = launchForm().elements.config.value;
    if (!confirm(`Delete the settings saved as ${question.config}?`)) return;
  }
  trigger("act", question);
};

const onClick = (event) => {
  const button = event.target.closest("button");
  if (!button || !tab.contains(button)) return;
  if (button.dataset.show !== undefined) show(button.dataset.show);
  else if (button.dataset.act) sendAction(button);
  else if (button.dataset.tab) choosePanel(button.dataset.tab);
  else if (button.dataset.copy !== undefined) copyCommand(button);
  else if (button.dataset.dismiss !== undefined) button.closest(".tr-message").remove();
};

const onTabKey = (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || !event.target.dataset.tab) return;
  const tabs = [...tab.querySelectorAll("[data-tab]")];
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  next.focus();
  choosePanel(next.dataset.tab);
};

const onCompare = (event) => {
  if (!event.target.classList.contains("tr-compare")) return;
  const id = event.target.dataset.run;
  view.compared = view.compared.filter((other) => other !== id);
  if (event.target.checked) view.compared.push(id);
  keepView();
  lookNow();
};

// What an action led to: the run it names is shown, a launched form gets a new name, and the panels are asked again.
let lastMessage = "";
const onMessage = () => {
  const message = byId("tr-message")?.querySelector("[data-at]");
  if (!message || message.dataset.at === lastMessage) return;
  lastMessage = message.dataset.at;
  const turnTo = message.dataset.turnTo;
  if (turnTo && turnTo !== "new") askForForm({ ...collectForm(), name: "", after: "" }, true);
  if (turnTo) show(turnTo);
  else lookNow();
  message.scrollIntoView({ block: "nearest" });
};

if (!tab.dataset.trainStarted) {
  tab.dataset.trainStarted = "yes";
  tab.addEventListener("click", onClick);
  tab.addEventListener("keydown", onTabKey);
  tab.addEventListener("change", onCompare);
  whenThere("tr-launcher", (box) => {
    new MutationObserver(() => {
      markChanges();
      const form = collectForm();
      if (form) keep(DRAFT_KEY, form);
    }).observe(box, { childList: true, subtree: true });
    startForm();
  });
  whenThere("tr-plan", (box) => new MutationObserver(markWrong).observe(box, { childList: true, subtree: true }));
  whenThere("tr-message", (box) => new MutationObserver(onMessage).observe(box, { childList: true, subtree: true }));
  whenThere("tr-charts", () => {
    bindCharts();
    bindPanels();
    showView();
    lookNow();
  });
  setInterval(() => isVisible() && !isAsking && lookNow(), POLL_MS);
}
