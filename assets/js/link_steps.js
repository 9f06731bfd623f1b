// Links every [data-mark] of a tab: pointing at a row or chip highlights its mark on the screen and the other way
// round; a click keeps it highlighted until the next click or Escape. One listener set on the tab's root element.
const root = element.closest(".tw-tab") ?? document.body;
if (!root.dataset.twLinked) {
  root.dataset.twLinked = "yes";
  let pinned = null;

  const keyOf = (event) => event.target.closest?.("[data-mark]")?.dataset.mark ?? null;

  const show = (key) => {
    for (const item of root.querySelectorAll("[data-mark]")) {
      item.classList.toggle("tw-active", item.dataset.mark === key);
    }
  };

  root.addEventListener("pointerover", (event) => show(keyOf(event) ?? pinned));
  root.addEventListener("pointerleave", () => show(pinned));
  root.addEventListener("focusin", (event) => show(keyOf(event) ?? pinned));
  root.addEventListener("focusout", () => show(pinned));
  root.addEventListener("click", (event) => {
    const key = keyOf(event);
    pinned = key === pinned ? null : key;
    show(pinned);
    if (pinned !== null && event.target.closest("svg, .tw-tray")) {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const row = [...root.querySelectorAll(".tw-row")].find((r) => r.dataset.mark === pinned);
      row?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
    }
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show((pinned = null));
  });
}
