// Begins an episode of a MiniWoB++ page, also after another on the same page, as its own Python package does, with
// four changes: the time limit is lifted, reward and time are not shown, the cover that would begin another episode never
// appears, and no caret blinks, so that one state has one picture.
([seed, mode, limitMs]) => {
  if (!document.getElementById("tracer1-style")) {
    const style = document.createElement("style");
    style.id = "tracer1-style";
    style.textContent = "#reward-display, #sync-task-cover, #click-canvas { display: none !important }" +
      "* { caret-color: transparent !important }";
    document.head.append(style);
  }
  core.endEpisode(0);
  document.activeElement?.blur();
  core.EPISODE_MAX_TIME = limitMs;
  Math.seedrandom(seed);
  core.setDataMode(mode);
  core.startEpisodeReal();
}
