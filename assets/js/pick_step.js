// A click or Enter on a row of the history shows the screen the step was taken on; the row of the screen that is shown
// is kept in view.
const pick = (event) => {
  const row = event.target.closest("[data-frame]");
  if (row) trigger("click", { frame: Number(row.dataset.frame) });
};
element.addEventListener("click", pick);
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter") pick(event);
});

const reveal = () => {
  const row = element.querySelector(".tw-current");
  const box = row?.closest(".tw-scroll");
  if (box) box.scrollTop = row.offsetTop - box.offsetTop - (box.clientHeight - row.clientHeight) / 2;
};
new MutationObserver(reveal).observe(element, { childList: true, subtree: true });
