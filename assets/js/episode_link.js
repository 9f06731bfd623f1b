// Keeps the address of the page on the episode and the screen that are shown, so that it can be copied, bookmarked and
// reloaded.
const follow = () => {
  const goal = element.querySelector("[data-episode]");
  if (!goal) return;
  const address = new URL(window.location.href);
  address.searchParams.set("episode", goal.dataset.episode);
  address.searchParams.set("step", goal.dataset.step);
  if (address.href !== window.location.href) window.history.replaceState(null, "", address);
};
new MutationObserver(follow).observe(element, { childList: true, subtree: true, attributes: true });
follow();
