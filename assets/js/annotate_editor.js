// The open trajectory. Edits go to the server one after another, each made to the version that the one before gave; what
// is not stored yet is told, and is sent again until the server answers.
const PAUSE_MS = 500; // a pause in typing after which the text is stored
const RENEW_MS = 60_000;
const RETRY_MS = 2000;
let work = null; // {trajectory, mode, branch, revision, step, place, keys, version, task, token}
const comments = {}; // step -> what a reviewer wrote about it, until it is returned

const isEditing = () => work !== null && (work.mode === "annotate" || work.mode === "fix");
const question = (more = {}) => ({
  trajectory: work.trajectory,
  mode: work.mode,
  branch: work.branch,
  revision: work.mode === "look" ? work.revision : 0,
  step: work.step,
  place: work.place,
  version: work.version,
  seen: seenParts,
  ...more,
});

// ---- the state of saving
let numPending = 0;
const showSaving = (words, tone = "") => {
  const box = byId("an-saved");
  if (!box) return;
  box.textContent = words;
  box.dataset.tone = tone;
};

// ---- answers
const adopt = (answer) => {
  const { trajectory, mode, branch, revision, step, place, keys, version } = answer;
  const isOther = !work || work.trajectory !== trajectory || work.mode !== mode;
  const lease = answer.token ? { task: answer.task, token: answer.token } : isOther ? {} : { task: work.task, token: work.token };
  const hasMoved = !work || work.step !== step;
  work = { trajectory, mode, branch, revision, step, place, keys, version, saved: answer.saved, ...lease };
  view.open = { trajectory, mode, branch, revision, step, place };
  keepView();
  showParts(answer);
  showSaving(numPending ? "Saving …" : answer.saved, numPending ? "busy" : "");
  syncFields(hasMoved);
  if (hasMoved) showTool();
  byId("an-forecast-card").hidden = !byId("an-forecast").childElementCount;
  byId("an-drawing").hidden = !isEditing();
  const box = byId("an-comment");
  if (box && hasMoved) box.value = comments[box.dataset.commentStep] ?? "";
  if (hasMoved) byId("an-strip").querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
};

// Brings the fields to what the server has; one that is being typed in keeps what is typed.
const typed = new Map(); // field -> timer of what is not sent yet
const syncFields = (isOtherStep) => {
  for (const field of byId("an-editor").querySelectorAll("[data-field]")) {
    if (!isOtherStep && (typed.has(field) || field === document.activeElement)) continue;
    if (field.tagName === "SELECT") field.selectedIndex = Math.max(0, [...field.options].findIndex((o) => o.defaultSelected));
    else field.value = field.defaultValue;
    if (isOtherStep) showFieldError(field.dataset.field, "");
  }
};
const showFieldError = (name, sentence) => {
  const box = [...byId("an-editor").querySelectorAll("[data-error-of]")].find((item) => item.dataset.errorOf.split(" ").includes(name));
  if (!box) return false;
  box.textContent = sentence;
  box.hidden = !sentence;
  return true;
};

// What a refusal asks of the page; true when the page is up to date again.
const onRefusal = async (answer, field = "") => {
  if (answer.kind === "conflict") {
    byId("an-versions").innerHTML = answer.html;
    byId("an-versions").scrollIntoView({ block: "nearest" });
    return;
  }
  if (answer.kind === "stale") {
    const fresh = await ask("refresh", question());
    if (fresh && !fresh.error) {
      adopt(fresh);
      typed.clear();
      syncFields(true);
    }
  }
  if (answer.kind === "gone") return closeWork(answer.error, "error");
  if (!field || !showFieldError(field, answer.error)) say(answer.error, "error", "an-message-work");
};

// Edits that may be made again to a draft that another window of the same person changed: each sets one thing of the step
// that it names, and the log keeps what the other window set.
const REPEATABLE = ["goal", "outcome", "difficulty", "instruction", "thought", "action", "target", "point", "ends", "mark"];

// ---- one question after another
let chain = Promise.resolve();
const inTurn = (action) => {
  const result = chain.then(action);
  chain = result.catch(() => {});
  return result;
};

const send = (name, more, field = "") => {
  numPending++;
  if (isEditing() && name !== "refresh") showSaving("Saving …", "busy");
  return inTurn(async () => {
    let answer = null;
    while (work && !(answer = await ask(name, question(typeof more === "function" ? more() : more)))) {
      showSaving("Not saved: the server does not answer", "bad");
      await pause(RETRY_MS);
    }
    if (work && answer?.kind === "stale" && REPEATABLE.includes(more.edit?.name)) {
      const fresh = await ask("refresh", question());
      if (fresh && !fresh.error) work.version = fresh.version;
      answer = (await ask(name, question(more))) ?? answer;
      if (!answer.error) say("This draft was changed in another window: both changes are in it now.", "info", "an-message-work");
    }
    numPending--;
    if (!work || !answer) return null;
    if (answer.error) {
      await onRefusal(answer, field);
      showSaving("Not saved: see what is wrong", "bad");
      return answer;
    }
    if (field) showFieldError(field, "");
    adopt(answer);
    return answer;
  });
};
const edit = (change, field = "") => {
  if (!isEditing()) return;
  if (change !== "undo" && change !== "redo") flushFields();
  // the step that is shown when the person acts, not when its turn comes
  const key = work.step;
  return send("edit", { edit: typeof change === "string" ? change : { key, ...change } }, field);
};

// ---- fields
const readField = (field) => {
  const { field: name } = field.dataset;
  if (name === "type") return { name: "action", type: field.value };
  if (name === "arguments") return { name: "action", type: byId("an-fields").querySelector("[data-field=type]").value, arguments: field.value };
  return { name, value: field.value };
};
const sendField = (field) => {
  clearTimeout(typed.get(field));
  typed.delete(field);
  const { field: name } = field.dataset;
  if (name === "screen" && !field.value) return;
  if (name === "private") {
    if (!field.value.trim()) return;
    edit(readField(field), "target").then((answer) => answer && !answer.error && (field.value = ""));
    return;
  }
  if (field.tagName !== "SELECT" && field.value === field.defaultValue) {
    if (!numPending) showSaving(work.saved); // typed and taken back
    return showFieldError(name, "");
  }
  send("edit", { edit: { key: field.closest("#an-whole") ? "" : work.step, ...readField(field) } }, name);
};
const flushFields = () => {
  for (const field of [...typed.keys()]) sendField(field);
};
const onType = (event) => {
  const field = event.target.closest("[data-field]");
  if (!field || !isEditing() || field.tagName === "SELECT" || field.dataset.field === "private") return;
  clearTimeout(typed.get(field));
  typed.set(field, setTimeout(() => sendField(field), PAUSE_MS));
  showSaving("Typing …", "busy");
};
const onFieldChange = (event) => {
  const { target } = event;
  if (target.id === "an-comment") comments[target.dataset.commentStep] = target.value;
  if (!isEditing()) return;
  if (target.dataset.markName) return edit({ name: "mark", mark: target.dataset.markName, is_on: target.checked });
  const field = target.closest("[data-field]");
  if (field) sendField(field);
};

// ---- opening and leaving
const showEditor = (isOpen) => {
  byId("an-lists").hidden = isOpen;
  byId("an-editor").hidden = !isOpen;
};
const openWork = async (wanted) => {
  forgetParts("head", "whole", "strip", "screen", "fields", "checks", "comments", "forecast");
  const answer = await ask("open", { ...wanted, seen: {} });
  if (!answer) return false;
  if (answer.error) {
    say(answer.error, "error");
    return false;
  }
  for (const key of Object.keys(comments)) delete comments[key];
  say("");
  say("", "info", "an-message-work");
  byId("an-versions").replaceChildren();
  work = null;
  showEditor(true);
  adopt(answer);
  if (byId("an-why")) byId("an-why").value = "";
  byId("an-strip").querySelector("[aria-current=true]")?.focus({ preventScroll: true });
  return true;
};
const closeWork = (sentence = "", tone = "success") => {
  flushFields();
  return inTurn(() => {
    work = null;
    view.open = null;
    keepView();
    showEditor(false);
    choosePanel(view.panel);
    if (sentence) say(sentence, tone);
  });
};

const goTo = (key) => {
  if (!work || key === work.step || !work.keys.includes(key)) return;
  flushFields();
  return send("refresh", () => ({ step: key }));
};
const goBy = (by) => work && goTo(work.keys[Math.min(work.keys.length - 1, Math.max(0, work.place + by))]);

const finish = async (what) => {
  const why = byId("an-why")?.value ?? "";
  if (what === "submit" && !why.trim()) {
    byId("an-why").focus();
    return say("Say in a few words what you did: it stands in the history.", "error", "an-message-work");
  }
  flushFields();
  return inTurn(async () => {
    if (!work) return;
    const given = Object.fromEntries(Object.entries(comments).filter(([, text]) => text.trim()));
    const answer = await ask("finish", question({
      act: what, why, task: work.task ?? 0, token: work.token ?? "", revision: work.revision, comments: given,
    }));
    if (!answer) return;
    if (answer.error) return onRefusal(answer);
    work = null;
    view.open = null;
    keepView();
    showEditor(false);
    forgetParts("list");
    choosePanel(view.panel);
    say(answer.done);
  });
};

const renew = async () => {
  if (!work?.token) return;
  const answer = await ask("renew", { task: work.task, token: work.token });
  if (answer?.error) say(answer.error, "error", "an-message-work");
};

// ---- versions
const versions = async (more) => {
  const answer = await ask("versions", { trajectory: work.trajectory, ...more });
  if (!answer) return null;
  if (answer.error) {
    say(answer.error, "error", "an-message-work");
    return null;
  }
  return answer;
};
const showHistory = async () => {
  const box = byId("an-versions");
  if (box.querySelector(".an-history")) return box.replaceChildren();
  const answer = await versions({ act: "history" });
  if (!answer) return;
  box.innerHTML = `<section class="tw-card an-history" aria-label="History"><h2>History</h2>${answer.html}<div id="an-difference"></div></section>`;
  box.scrollIntoView({ block: "nearest" });
};

const join = () => {
  const box = byId("an-versions").querySelector(".an-three");
  const choices = {};
  for (const radio of box.querySelectorAll("[data-conflict]:checked")) choices[radio.dataset.conflict] = radio.value;
  return send("join", { their_revision: Number(box.dataset.theirRevision), choices }).then((answer) => {
    if (!answer || answer.error) return;
    byId("an-versions").replaceChildren();
    say("The versions are joined in your draft: look at it, then submit again.", "success", "an-message-work");
  });
};

const workActions = {
  list: () => closeWork(),
  undo: () => edit("undo"),
  redo: () => edit("redo"),
  discard: () => confirm("Drop this draft with everything that could be undone in it?") && edit("discard"),
  submit: () => finish("submit"),
  fix: () => finish("fix"),
  accept: () => finish("accept"),
  return: () => finish("return"),
  release: () => finish("release"),
  mend: () => openWork({ trajectory: work.trajectory, mode: "fix" }),
  look: ({ trajectory, revision, branch }) => openWork({ trajectory, mode: "look", revision: Number(revision), branch }),
  history: showHistory,
  difference: async () => {
    const [before, after] = ["an-before", "an-after"].map((id) => {
      const { branch, number } = byId(id).selectedOptions[0].dataset;
      return { branch, number: Number(number) };
    });
    const answer = await versions({ act: "difference", before, after });
    if (answer) byId("an-difference").innerHTML = answer.html;
  },
  restore: async ({ number, branch }) => {
    const why = prompt(`Why is revision ${number} restored?`);
    if (!why) return;
    const answer = await versions({ act: "restore", number: Number(number), branch, why });
    if (answer) await openWork({ trajectory: work.trajectory, mode: "look" });
    if (answer) say(answer.done, "success", "an-message-work");
  },
  join,
  close_three: () => byId("an-versions").replaceChildren(),
  resolve: ({ comment }) => send("resolve", { comment: Number(comment) }),
  forecast: () => {
    if (!isEditing()) return;
    say("The planner is asked …", "info", "an-message-work");
    send("help", { act: "forecast" }).then((answer) => answer && !answer.error && say("", "info", "an-message-work"));
  },
  ground: () => isEditing() && send("help", { act: "ground" }),
  accept_forecast: ({ number }) => send("help", { act: "accept_forecast", number: Number(number) }),
  reject_forecast: (_, target) => target.closest("tr").classList.add("an-rejected"),
  keys: () => openKeys(),
};
