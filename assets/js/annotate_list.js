// The work list: projects, filters, pages, imports, exports, progress and dataset revisions.
let listOffset = 0;

const listQuestion = () => ({
  project: view.project,
  text: byId("an-text").value,
  state: byId("an-state").value,
  platform: byId("an-platform").value,
  with_errors: byId("an-with-errors").checked,
  offset: listOffset,
  seen: seenParts,
});

let numLooks = 0;
const lookNow = async () => {
  const number = ++numLooks;
  const answer = await ask("look", listQuestion());
  if (!answer?.error) view.project ||= answer?.project ?? "";
  if (!answer || number !== numLooks) return;
  if (answer.error) return say(answer.error, "error");
  view.project = answer.project;
  keepView();
  showParts(answer);
  byId("an-lists").classList.toggle("an-no-project", !answer.has_projects);
};
const lookSoon = debounced(() => {
  listOffset = 0;
  lookNow();
}, 200);

const refreshPanel = async () => {
  if (view.panel === "list" || !view.project) return lookNow();
  const answer = await ask("panel", { panel: view.panel, project: view.project, seen: seenParts });
  if (answer?.error) return say(answer.error, "error");
  if (answer) showParts(answer);
};

const choosePanel = (name) => {
  view.panel = byId(`an-tab-${name}`) ? name : "list"; // this browser may remember a panel of another version
  keepView();
  for (const item of tab.querySelectorAll("[data-an-tab]")) {
    const isChosen = item.dataset.anTab === view.panel;
    item.setAttribute("aria-selected", isChosen);
    item.tabIndex = isChosen ? 0 : -1;
  }
  for (const panel of tab.querySelectorAll("[data-an-panel-of]")) panel.hidden = panel.dataset.anPanelOf !== view.panel;
  refreshPanel();
};

const showReport = (html) => {
  byId("an-message").replaceChildren();
  byId("an-message").innerHTML = html; // made by the server, every text in it escaped
};

const act = async (question, busy = "") => {
  if (busy) say(busy, "info");
  if (!view.project) await lookNow(); // a click before the first answer: which project is shown is not known yet
  const answer = await ask("act", { project: view.project, ...question });
  if (!answer) return null;
  if (answer.error) say(answer.error, "error");
  else if (answer.html) showReport(answer.html);
  else say(answer.done ?? "");
  if (!answer.error) await refreshPanel();
  return answer;
};

const importFile = async (input) => {
  const [file] = input.files;
  if (!file) return;
  say(`Reading ${file.name} …`, "info");
  try {
    const { path } = await upload(file);
    await act({ act: "import_upload", path, form: byId("an-import-form").value }, `Importing ${file.name} …`);
  } catch (error) {
    say(`${file.name} could not be sent (${error.message}): is it larger than 64 MB? Then give its path below --data.`, "error");
  }
  input.value = "";
};

const fetchExport = (answer) => {
  if (!answer?.href) return;
  const link = byId("an-message").querySelector(".an-download");
  link?.click();
};

// A dataset revision becomes the data of the Train tab's form, which may not be there yet.
const trainOn = (path) => {
  const draft = kept("tracer1.train.draft", {});
  keep("tracer1.train.draft", { ...draft, values: { ...draft.values, "data.path": path } });
  document.dispatchEvent(new CustomEvent("tw-train-on", { detail: path }));
  [...document.querySelectorAll("button[role=tab]")].find((item) => item.textContent.trim() === "Train")?.click();
};

const listActions = {
  project: ({ project }) => {
    view.project = project;
    listOffset = 0;
    forgetParts("list");
    say("");
    lookNow().then(refreshPanel);
  },
  page: ({ offset }) => {
    listOffset = Number(offset);
    lookNow();
  },
  next: async ({ kind }) => {
    const answer = await act({ act: "next", kind });
    if (answer?.trajectory) openWork({ trajectory: answer.trajectory, mode: answer.mode });
  },
  open: ({ trajectory, mode }) => openWork({ trajectory, mode }),
  break: ({ task }) => {
    const why = prompt("Why is the task taken out of their hands?");
    if (why) act({ act: "break", task: Number(task), why });
  },
  import_path: () =>
    act({ act: "import_path", path: byId("an-path").value, form: byId("an-import-form").value }, "Importing …"),
  export_project: async () =>
    fetchExport(
      await act(
        { act: "export_project", form: byId("an-export-form").value, state: byId("an-export-state").value },
        "Exporting …",
      ),
    ),
  export_dataset: async ({ name }, target) => {
    const form = target.closest("td").querySelector("select").value;
    fetchExport(await act({ act: "export_dataset", name, form }, "Exporting …"));
  },
  bring_sample: ({ number }) => act({ act: "bring_sample", number: Number(number) }),
  bring_episode: ({ episode }) => act({ act: "bring_episode", episode }),
  train: async ({ name }) => {
    const answer = await act({ act: "train", name });
    if (answer?.train_on) trainOn(answer.train_on);
  },
  dismiss: (_, target) => target.closest(".tr-message").remove(),
};

const onForm = async (event) => {
  const form = event.target.closest("form[data-form]");
  if (!form) return;
  event.preventDefault();
  const answer = await act({ act: form.dataset.form, ...Object.fromEntries(new FormData(form)) });
  if (!answer || answer.error) return;
  form.reset();
  if (answer.project) listActions.project(answer);
};

const offerPaths = async () => {
  if (byId("an-paths").childElementCount) return;
  const answer = await ask("paths", {});
  const options = (answer?.paths ?? []).map((path) => Object.assign(document.createElement("option"), { value: path }));
  byId("an-paths").replaceChildren(...options);
};
