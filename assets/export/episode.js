// One screen at a time, stepped by keyboard, timeline or address; without this script all of them are shown.
const steps = [...document.querySelectorAll(".xp-step")];
const links = [...document.querySelectorAll(".xp-timeline a")];
let current = 0;

const show = (index) => {
  current = Math.max(0, Math.min(steps.length - 1, index));
  steps.forEach((step, i) => (step.hidden = i !== current));
  links.forEach((link, i) => (i === current ? link.setAttribute("aria-current", "step") : link.removeAttribute("aria-current")));
  links[current]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  for (const host of steps[current]?.querySelectorAll(".tw-host:not([data-live])") ?? []) {
    host.dataset.live = "yes";
    makeScreen(host, () => {});
  }
  if (steps[current]) history.replaceState(null, "", `#${steps[current].id}`);
};

const nextMiss = () => {
  const wrong = [...steps.keys()].filter((i) => ["miss", "failed"].includes(steps[i].dataset.outcome));
  return wrong.find((i) => i > current) ?? wrong[0] ?? current; // from the start again after the last
};

const ofAddress = () => Math.max(0, steps.findIndex((step) => `#${step.id}` === location.hash));

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (isTyping || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const ways = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: steps.length - 1 };
  const to = event.key.toLowerCase() === "m" ? nextMiss() : ways[event.key];
  if (to === undefined) return;
  event.preventDefault();
  show(to);
});
for (const [index, link] of links.entries()) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    show(index);
  });
}
addEventListener("hashchange", () => show(ofAddress()));

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();
document.documentElement.classList.add("xp-stepped");
show(ofAddress());
