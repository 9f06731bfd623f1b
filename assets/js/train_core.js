// The Train tab: what is shown, and how the server is asked.
// All train_*.js share the scope of page_core.js.
// What this browser looks at. Runs themselves are the server's business, so a reload loses nothing.
const VIEW_KEY = "tracer1.train.view";
const view = kept(VIEW_KEY, { shown: "", compared: [], panel: "curves", smooth: 0.6, axis: "step", log: false });
const keepView = () => keep(VIEW_KEY, view);
const shownRun = () => (view.shown === "new" ? "" : view.shown);
const curveRuns = () => [shownRun(), ...view.compared.filter((id) => id !== shownRun())].filter(Boolean).slice(0, 8);

// A sentence of the page itself (not of an action): an answer that holds an error, or a server that is away.
const tell = (sentence) => {
  const box = byId("tr-page-note");
  if (!box) return;
  box.textContent = sentence;
  box.hidden = !sentence;
};

let lastError = "";
const ask = async (name, question) => {
  const answer = await server[name](question);
  if (answer.error) tell((lastError = answer.error));
  return answer.error ? null : answer;
};
