// The list of past episodes and the comparison: what a person chooses goes to the server, and each screen is made live
// where the page brought the screen component along.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button?.dataset.act === "page") trigger("input", { what: "page", offset: Number(button.dataset.offset) });
  if (button?.dataset.act === "step") trigger("input", { what: "step", step: Number(button.dataset.step) });
});
element.addEventListener("change", (event) => {
  const box = event.target.closest("input[data-act='compare']");
  if (box) trigger("input", { what: "compare", episode: box.dataset.episode, is_on: box.checked });
});

const wake = () => {
  for (const host of element.querySelectorAll(".tw-host:not([data-live])")) {
    host.dataset.live = "yes";
    if (typeof makeScreen === "function") makeScreen(host, () => {});
  }
};
new MutationObserver(wake).observe(element, { childList: true, subtree: true });
wake();
