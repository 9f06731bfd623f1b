// The launch form: what was typed is kept in this browser and sent whole; the server makes the plan of it.
const DRAFT_KEY = "tracer1.train.draft";
const launchForm = () => byId("tr-launcher")?.querySelector("form.tr-form");
const settingsOf = (form) => [...form.querySelectorAll("[data-preset][name]")];
const valueOf = (input) => (input.type === "checkbox" ? input.checked : input.value);

const collectForm = () => {
  const form = launchForm();
  if (!form) return null;
  const values = {};
  for (const box of form.querySelectorAll("[data-group]")) if (box.checked) values[box.dataset.group] = null;
  for (const input of settingsOf(form)) values[input.name] = valueOf(input);
  const text = (name) => form.elements[name]?.value ?? undefined;
  const devices = [...(form.elements.devices?.selectedOptions ?? [])].map((option) => option.value);
  const fields = { stage: text("stage"), preset: text("preset"), name: text("name"), seed: text("seed"), devices };
  return { ...fields, num_processes: text("num_processes"), after: form.dataset.after, values };
};

const markChanges = () => {
  const form = launchForm();
  if (!form) return;
  for (const field of form.querySelectorAll(".tr-field")) {
    const input = field.querySelector("[data-preset]");
    const isChanged = String(valueOf(input)) !== input.dataset.preset;
    field.classList.toggle("tr-changed", isChanged);
    field.querySelector(".tr-reset").hidden = !isChanged;
  }
  for (const group of form.querySelectorAll(".tr-group")) {
    const box = group.querySelector("[data-group]");
    if (box) group.querySelector(".tr-fields").disabled = box.checked;
    const isOut = box?.checked ?? false;
    const wasOut = box ? box.dataset.preset === "true" : false;
    const count = isOut ? 0 : group.querySelectorAll(".tr-changed").length;
    const words = isOut && !wasOut ? "left out" : count ? `${count} changed` : "";
    const line = group.querySelector(".tr-changes");
    if (line.textContent !== words) line.textContent = words; // this runs after every change of the form, also its own
  }
  const remove = form.querySelector("[data-act=delete-config]");
  if (remove) remove.hidden = !form.elements.config.value;
};

const previewSoon = debounced(() => {
  const form = collectForm();
  if (!form) return;
  keep(DRAFT_KEY, form);
  trigger("preview", { form });
}, 250);

const askForForm = (form, keepsValues) => trigger("choose", { form, keeps_values: keepsValues });

const startForm = () => {
  const draft = kept(DRAFT_KEY, {});
  askForForm(draft, Boolean(draft.values && Object.keys(draft.values).length));
};

const findSettings = (words) => {
  const wanted = words.trim().toLowerCase();
  for (const group of launchForm().querySelectorAll(".tr-group")) {
    let found = 0;
    for (const field of group.querySelectorAll(".tr-field")) {
      const fits = field.textContent.toLowerCase().includes(wanted);
      field.hidden = !fits;
      found += fits;
    }
    group.hidden = found === 0;
    if (wanted && found) group.open = true;
  }
};

const markWrong = () => {
  const wrong = byId("tr-plan")?.querySelector("[data-wrong]")?.dataset.wrong ?? "";
  for (const field of launchForm()?.querySelectorAll(".tr-field") ?? []) {
    const isWrong = wrong !== "" && (field.dataset.key === wrong || field.dataset.key.endsWith(`.${wrong}`));
    field.classList.toggle("tr-wrong", isWrong);
    field.querySelector("[data-preset]").setAttribute("aria-invalid", isWrong);
    if (isWrong) field.closest("details").open = true;
  }
};

tab.addEventListener("input", (event) => {
  const form = event.target.closest("form.tr-form");
  if (!form) return;
  if (event.target.name === "find") return findSettings(event.target.value);
  if (["stage", "preset", "config"].includes(event.target.name)) return;
  markChanges();
  previewSoon();
});
tab.addEventListener("change", (event) => {
  const form = event.target.closest("form.tr-form");
  if (!form) return;
  if (event.target.name === "stage") askForForm({ stage: event.target.value, preset: form.elements.preset.value }, false);
  if (event.target.name === "preset") askForForm({ stage: collectForm().stage, preset: event.target.value }, false);
  if (event.target.name === "config" && event.target.value) trigger("choose", { config: event.target.value });
});
tab.addEventListener("click", (event) => {
  const reset = event.target.closest("[data-reset]");
  if (!reset) return;
  const input = reset.closest(".tr-field").querySelector("[data-preset]");
  if (input.type === "checkbox") input.checked = input.dataset.preset === "true";
  else input.value = input.dataset.preset;
  input.focus();
  markChanges();
  previewSoon();
});
// Another tab names the file to train on: into the form where it is there, else it waits in what this browser keeps.
document.addEventListener("tw-train-on", (event) => {
  const form = collectForm();
  if (form) askForForm({ ...form, values: { ...form.values, "data.path": event.detail } }, true);
});
