// The Compare tab: what is chosen and shown, and how the server is asked.
// All compare_*.js share the scope of page_core.js.
const VIEW_KEY = "tracer1.compare.view";
const view = kept(VIEW_KEY, { chosen: [], allow: false, panel: "comparison", shown: "", pair: null, right: "", flip: "" });
const keepView = () => keep(VIEW_KEY, view);
const question = (more = {}) => ({ chosen: view.chosen, allow: view.allow, shown: view.shown, ...more });

// One note for each question; it goes when the same question is answered, or the choice changes.
const notes = {};
const tell = (about, sentence) => {
  notes[about] = sentence;
  const box = byId("cmp-page-note");
  box.textContent = [...new Set(Object.values(notes))].filter(Boolean).join(" ");
  box.hidden = !box.textContent;
};

const ask = async (name, asked) => {
  try {
    const answer = await server[name](asked);
    tell("server", "");
    tell(name, answer.error ?? "");
    return answer.error ? null : answer;
  } catch (error) {
    tell("server", `The server does not answer (${error.message}). Trying again.`);
    return null;
  }
};

// The link of this page names the saved comparison that is shown, and nothing once the choice is another one.
const showLink = () => {
  const url = new URL(location.href);
  if (view.shown) url.searchParams.set("comparison", view.shown);
  else url.searchParams.delete("comparison");
  history.replaceState(history.state, "", url);
};

const choosePanel = (name) => {
  view.panel = byId(`cmp-tab-${name}`) ? name : "comparison"; // this browser may remember a panel of another version
  keepView();
  byId("cmp-message").querySelector(".tr-message")?.remove(); // it was about the panel before
  showPanel();
  if (view.panel === "flips") refreshFlips();
  if (view.panel === "comparison") drawFigures();
  if (view.panel === "new") startForm();
};

const showPanel = () => {
  tab.dataset.cmpPanel = view.panel;
  for (const item of tab.querySelectorAll("[data-cmp-tab]")) {
    const isChosen = item.dataset.cmpTab === view.panel;
    item.setAttribute("aria-selected", isChosen);
    item.tabIndex = isChosen ? 0 : -1;
  }
  for (const panel of tab.querySelectorAll("[data-cmp-panel-of]")) panel.hidden = panel.dataset.cmpPanelOf !== view.panel;
};

// ---- the comparison
let numAsked = 0;
const refreshComparison = async () => {
  const box = byId("cmp-comparison");
  box.setAttribute("aria-busy", "true");
  const number = ++numAsked;
  const answer = await ask("compare", question());
  if (number !== numAsked) return; // the choice is another one by now, and its answer is on its way
  box.toggleAttribute("data-failed", !answer); // asked again with the next look
  if (!answer) return;
  box.removeAttribute("aria-busy");
  const open = new Set([...box.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent));
  box.innerHTML = answer.html;
  for (const summary of box.querySelectorAll("details > summary")) {
    if (open.has(summary.textContent)) summary.parentElement.open = true;
  }
  figures = answer.figures;
  byId("cmp-allow").checked = view.allow;
  for (const button of tab.querySelectorAll("[data-needs-comparison]")) button.disabled = !answer.is_compared;
  fillPairs();
  drawFigures();
};

const choose = (chosen) => {
  for (const about of ["open", "report", "flips", "flip"]) tell(about, "");
  view.chosen = chosen;
  view.shown = "";
  changed();
};
const showChosen = () => {
  for (const box of tab.querySelectorAll("[data-choose]")) box.checked = view.chosen.includes(box.dataset.choose);
};
const changed = () => {
  keepView();
  showLink();
  showChosen();
  refreshComparison();
  lookNow();
};

const openSaved = async (name) => {
  const answer = await ask("open", { name });
  if (!answer) {
    if (view.shown === name) view.shown = "";
    return changed();
  }
  Object.assign(view, { chosen: answer.chosen, allow: answer.allow, shown: name, pair: null, flip: "" });
  choosePanel("comparison");
  changed();
};

const download = async (form) => {
  const answer = await ask("report", question({ form }));
  if (!answer) return;
  const types = { html: "text/html", md: "text/markdown", csv: "text/csv" };
  const url = URL.createObjectURL(new Blob([answer.text], { type: `${types[form]};charset=utf-8` }));
  Object.assign(document.createElement("a"), { href: url, download: answer.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
};

// ---- accuracy by lookahead
const LIGHT = ["#0b64b4", "#b84300", "#0b7a5c", "#7c3aad", "#8a6100", "#b0246b", "#4a6b12", "#4b5563"];
const DARK = ["#58a6ff", "#ff9b5e", "#3ccf9f", "#c9a2ff", "#e3b341", "#ff8cc0", "#a5d65c", "#aab4c0"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon"];
let figures = [];

// Plotly takes tags in a name as markup, and a long one would leave no room for the curves.
const escaped = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
const legendName = (name) => {
  const letters = [...name];
  const short = letters.length > 32 ? [...letters.slice(0, 31), "…"] : letters;
  return short.map((letter) => escaped[letter] ?? letter).join("");
};

const drawFigures = async () => {
  if (view.panel !== "comparison" || !figures.some((series) => series.length)) return;
  await loadPlotly();
  const css = getComputedStyle(tab);
  const colour = (name) => css.getPropertyValue(name).trim();
  const colours = document.body.classList.contains("dark") ? DARK : LIGHT;
  for (const figure of tab.querySelectorAll(".cmp-figure")) {
    const series = figures[Number(figure.dataset.figure)] ?? [];
    figure.hidden = !series.length;
    if (!series.length) continue;
    const traces = series.map((one, n) => ({
      x: one.t,
      y: one.rate,
      name: legendName(one.name),
      type: "scatter",
      mode: "lines+markers",
      line: { color: colours[n % colours.length], width: 1.8, dash: ["solid", "dash", "dot"][Math.floor(n / 8) % 3] },
      marker: { size: 8, symbol: SYMBOLS[n % SYMBOLS.length] },
      error_y: {
        type: "data",
        symmetric: false,
        array: one.high.map((high, i) => high - one.rate[i]),
        arrayminus: one.low.map((low, i) => one.rate[i] - low),
        thickness: 1.2,
        width: 3,
      },
      hovertemplate: "%{y:.1f} %<extra>%{fullData.name}</extra>",
    }));
    const grid = { gridcolor: colour("--tw-line"), zerolinecolor: colour("--tw-line"), automargin: true };
    const height = 240 + 20 * Math.ceil(series.length / 3); // the legend's lines stand above the curves
    const layout = {
      height,
      margin: { l: 48, r: 12, t: 8, b: 40 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: colour("--tw-soft") },
      hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--tw-card"), bordercolor: colour("--tw-line"), font: { color: colour("--tw-ink") } },
      xaxis: { ...grid, title: { text: "lookahead t, steps" }, dtick: 1, zeroline: false },
      yaxis: { ...grid, title: { text: "step success, %" }, range: [0, 102] },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      showlegend: true,
    };
    const config = { displaylogo: false, displayModeBar: false, responsive: true };
    const box = figure.querySelector("div");
    box.style.minHeight = `${height}px`; // Plotly drops its own height when the window's width changes
    await Plotly.react(box, traces, layout, config);
    figure.dataset.drawn = "yes";
  }
};
