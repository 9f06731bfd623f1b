// The panels beside the curves: rollouts, log, settings.
const LOG_CHARACTERS = 400_000;
let logRun = null;
let logCursor = null;
let lensSeen = {};
let lensGroup = null;
let lensCompletion = null;
let lensPrompt = "";
let lensRun = null;
let settingsOfRuns = "";

// ---- log: follows unless scrolled up
const isAtEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24;
const showLogState = () => {
  const box = byId("tr-log");
  const isSearch = byId("tr-log-search").value.trim() !== "";
  byId("tr-log-end").hidden = isSearch || isAtEnd(box);
  byId("tr-log-state").textContent = isSearch ? "" : isAtEnd(box) ? "following" : "paused while you read";
};

const refreshLog = async () => {
  const id = shownRun();
  const box = byId("tr-log");
  if (byId("tr-log-search").value.trim()) return;
  if (logRun !== id) {
    logRun = id;
    logCursor = null;
    box.textContent = "";
  }
  const answer = await ask("log", { id, cursor: logCursor });
  if (!answer || logRun !== id || byId("tr-log-search").value.trim()) return;
  const follows = isAtEnd(box) || logCursor === null;
  if (answer.is_reset) box.textContent = "";
  if (logCursor === null && answer.num_skipped) box.append(`(${answer.num_skipped} earlier bytes are in the file)\n`);
  logCursor = answer.cursor;
  if (answer.text) {
    box.append(answer.text);
    if (box.textContent.length > LOG_CHARACTERS && follows) box.textContent = box.textContent.slice(-LOG_CHARACTERS / 2);
  }
  if (!box.textContent) box.dataset.empty = "Nothing was printed yet.";
  if (follows) box.scrollTop = box.scrollHeight;
  showLogState();
};

const searchLog = debounced(async () => {
  const words = byId("tr-log-search").value.trim();
  const box = byId("tr-log");
  logRun = null;
  if (!words) return refreshLog();
  const answer = await ask("log", { id: shownRun(), search: words });
  if (!answer || byId("tr-log-search").value.trim() !== words) return;
  box.replaceChildren(...answer.hits.map((hit) => logHit(hit, words)));
  box.dataset.empty = "No line holds this.";
  showLogState();
  byId("tr-log-state").textContent = `${answer.hits.length} line${answer.hits.length === 1 ? "" : "s"}`;
}, 250);

const logHit = (hit, words) => {
  const line = document.createElement("div");
  const at = hit.text.toLowerCase().indexOf(words.toLowerCase());
  const place = Object.assign(document.createElement("span"), { textContent: `${hit.file}:${hit.line}  ` });
  place.className = "tr-soft";
  const found = Object.assign(document.createElement("mark"), { textContent: hit.text.slice(at, at + words.length) });
  line.append(place, hit.text.slice(0, Math.max(0, at)), at < 0 ? "" : found, at < 0 ? hit.text : hit.text.slice(at + words.length));
  return line;
};

// ---- rollouts
const refreshLens = async () => {
  const id = shownRun();
  if (lensRun !== id) {
    lensRun = id;
    lensSeen = {};
    lensGroup = lensCompletion = null;
    lensPrompt = "";
    byId("tr-lens-all").hidden = true;
  }
  const question = {
    id,
    text: byId("tr-lens-text").value,
    least: byId("tr-lens-least").value,
    greatest: byId("tr-lens-greatest").value,
    only_broken: byId("tr-lens-broken").checked,
    prompt: lensPrompt,
    group: lensGroup,
    completion: lensCompletion,
    seen: lensSeen,
  };
  const answer = await ask("lens", question);
  if (!answer || lensRun !== id) return;
  lensGroup = answer.group; // stays while newer groups arrive, so that nobody reads a moving page
  for (const [part, { hash, html }] of Object.entries(answer.parts)) {
    morph(byId(`tr-lens-${part}`), html);
    lensSeen[part] = hash;
    if (part === "group") markTones();
  }
};

const markTones = () => {
  const box = byId("tr-lens-group");
  for (const row of box.querySelectorAll("[data-tone]")) {
    for (const mark of box.querySelectorAll(`svg [data-mark="${row.dataset.mark}"]`)) {
      mark.classList.toggle("tr-best-mark", row.dataset.tone === "best");
      mark.classList.toggle("tr-worst-mark", row.dataset.tone === "worst");
    }
  }
};

const onLensClick = (event) => {
  const group = event.target.closest("[data-group]");
  const completion = event.target.closest("[data-completion]");
  const follow = event.target.closest("[data-follow]");
  if (!group && !completion && !follow) return;
  if (group) [lensGroup, lensCompletion] = [Number(group.dataset.group), null];
  if (completion) lensCompletion = completion.dataset.completion === "" ? null : Number(completion.dataset.completion);
  if (follow) {
    lensPrompt = follow.dataset.follow;
    byId("tr-lens-all").hidden = false;
  }
  refreshLens();
};

// ---- settings of the shown and the compared runs
const refreshSettings = async () => {
  const ids = curveRuns();
  const wanted = ids.join("\n");
  if (settingsOfRuns === wanted) return;
  const answer = await ask("settings", { ids });
  if (!answer) return;
  settingsOfRuns = wanted;
  morph(byId("tr-settings"), answer.html);
};

const bindPanels = () => {
  byId("tr-log").addEventListener("scroll", showLogState);
  byId("tr-log-end").addEventListener("click", () => byId("tr-log").scrollTo({ top: byId("tr-log").scrollHeight }));
  byId("tr-log-search").addEventListener("input", searchLog);
  const filter = debounced(() => {
    lensGroup = lensCompletion = null;
    refreshLens();
  }, 250);
  for (const id of ["tr-lens-text", "tr-lens-least", "tr-lens-greatest", "tr-lens-broken"]) {
    byId(id).addEventListener("input", filter);
  }
  byId("tr-lens-all").addEventListener("click", () => {
    lensPrompt = "";
    byId("tr-lens-all").hidden = true;
    filter();
  });
  byId("tr-lens-list").addEventListener("click", onLensClick);
  byId("tr-lens-group").addEventListener("click", onLensClick);
};
