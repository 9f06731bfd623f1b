// Clicks, and the clocks that keep the lists up to date and the task in hand.
const POLL_MS = 5000;
const makeScreen = SCREEN_SCRIPT;

const onClick = (event) => {
  const target = event.target.closest("button, [data-step], [data-tool]");
  if (!target || !element.contains(target) || target.disabled) return;
  const { dataset } = target;
  if (dataset.step) goTo(dataset.step);
  else if (dataset.tool) chooseTool(dataset.tool);
  else if (dataset.edit) edit(editOf(dataset));
  else if (dataset.anTab) choosePanel(dataset.anTab);
  else if (dataset.act === "dismiss") listActions.dismiss(dataset, target);
  else if (work && workActions[dataset.act]) workActions[dataset.act](dataset, target);
  else if (listActions[dataset.act]) listActions[dataset.act](dataset, target);
};
const editOf = ({ edit: name, by, value }) => ({
  name, ...(by ? { by: Number(by) } : {}), ...(value ? { value: Number(value) } : {}),
});

const onTabKey = (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || !event.target.dataset.anTab) return;
  const tabs = [...tab.querySelectorAll("[data-an-tab]")];
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  next.focus();
  choosePanel(next.dataset.anTab);
};

const start = async () => {
  const { open } = view;
  choosePanel(view.panel);
  if (!open) return;
  if (await openWork(open)) return;
  view.open = null; // the task is in other hands by now
  keepView();
};

// An episode that comes from the Episode tab is opened; what was open is left, its draft stays.
const takeUp = async ({ project, open }) => {
  if (work) await closeWork();
  listActions.project({ project });
  openWork(open);
};

if (!tab.dataset.annotateStarted) {
  tab.dataset.annotateStarted = "yes";
  element.addEventListener("click", onClick);
  element.addEventListener("keydown", onTabKey);
  element.addEventListener("submit", onForm);
  element.addEventListener("input", onType);
  element.addEventListener("change", onFieldChange);
  document.addEventListener("keydown", onKey);
  window.addEventListener("beforeunload", (event) => (numPending || typed.size) && event.preventDefault());
  whenThere("an-keys", () => {
    makeScreen(byId("an-screen"), onScreen);
    bindDrawing();
    byId("an-text").addEventListener("input", lookSoon);
    for (const id of ["an-state", "an-platform", "an-with-errors"]) byId(id).addEventListener("change", lookSoon);
    byId("an-upload").addEventListener("change", (event) => importFile(event.target));
    byId("an-path").addEventListener("focus", offerPaths);
    start();
    document.addEventListener("tw-correct", (event) => takeUp(event.detail));
  });
  setInterval(() => isVisible() && !work && view.panel === "list" && lookNow(), POLL_MS);
  setInterval(renew, RENEW_MS);
}
