// A click or Enter on anything with data-go leads to that screen; the row of the screen that is shown is kept in view.
const pick = (event) => {
  const row = event.target.closest("[data-go]");
  if (row) trigger("input", { what: "go", to: Number(row.dataset.go) });
};
element.addEventListener("click", pick);
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("li")) pick(event);
});

const reveal = () => {
  const row = element.querySelector("[aria-current]");
  const box = row?.closest(".tw-scroll, .tw-timeline");
  if (!box) return;
  const [outer, inner] = [box.getBoundingClientRect(), row.getBoundingClientRect()];
  box.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
  box.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
};
new MutationObserver(reveal).observe(element, { childList: true, subtree: true });
