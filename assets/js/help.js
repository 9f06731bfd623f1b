// Help for the tab that is open, and the tour: a card that opens one tab after another. Who has taken or ended it once
// is not offered it in colour again.
const helpDialog = element.querySelector(".tw-help-dialog");
const tour = element.querySelector(".tw-tour");
const tourSteps = [...tour.querySelectorAll("[data-tour]")];
const tourButton = element.querySelector("[data-help-act=tour]");
const mainTabs = () =>
  [...document.querySelectorAll("button[role=tab]")].filter((item) => !item.closest(".tw-tab") && item.offsetParent);
const tabCalled = (name) => mainTabs().find((item) => item.textContent.trim() === name);

const storage = (action, value) => {
  try {
    return window.localStorage[action]("tracer1.tour", value);
  } catch {
    return null; // no storage: the tour is offered again
  }
};
const showOffer = () => tourButton.classList.toggle("tr-primary", storage("getItem") === null);

const showText = (box, template) =>
  box.querySelector(".tw-help-text").replaceChildren(template.content.cloneNode(true));

const openHelp = () => {
  const open = mainTabs().find((item) => item.getAttribute("aria-selected") === "true")?.textContent.trim() ?? "Episode";
  showText(helpDialog, helpDialog.querySelector(`[data-help="${open}"]`));
  helpDialog.showModal();
  helpDialog.scrollTop = 0;
};

let place = -1;
const showStep = (to) => {
  place = to;
  tour.hidden = to < 0;
  for (const item of mainTabs()) item.classList.remove("tw-toured");
  if (to < 0) return tourButton.focus();
  showText(tour, tourSteps[to]);
  const tabButton = tabCalled(tourSteps[to].dataset.tour);
  tabButton?.click();
  tabButton?.classList.add("tw-toured");
  tour.querySelector(".tw-tour-place").textContent = `${tourSteps[to].dataset.tour} · ${to + 1} of ${tourSteps.length}`;
  tour.querySelector("[data-help-act=back]").disabled = to === 0;
  tour.querySelector("[data-help-act=next]").textContent = to === tourSteps.length - 1 ? "Done" : "Next";
  tour.focus();
};
const endTour = () => {
  storage("setItem", "taken");
  showOffer();
  showStep(-1);
};

const helpActions = {
  open: openHelp,
  tour: () => showStep(0),
  back: () => showStep(Math.max(0, place - 1)),
  next: () => (place + 1 < tourSteps.length ? showStep(place + 1) : endTour()),
  end: endTour,
};
element.addEventListener("click", (event) => {
  const act = event.target.closest("[data-help-act]")?.dataset.helpAct;
  if (act) helpActions[act]();
  else if (event.target === helpDialog) helpDialog.close(); // beside the dialog
});
tour.addEventListener("keydown", (event) => event.key === "Escape" && endTour());
showOffer();
