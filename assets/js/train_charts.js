// Live curves. Plotly.react with a fixed uirevision keeps zoom and hidden series while points arrive; a chart is drawn
// only while it can be seen.
const LIGHT = ["#0b64b4", "#b84300", "#0b7a5c", "#7c3aad", "#8a6100", "#b0246b", "#4a6b12", "#4b5563"];
const DARK = ["#58a6ff", "#ff9b5e", "#3ccf9f", "#c9a2ff", "#e3b341", "#ff8cc0", "#a5d65c", "#aab4c0"];
const MOST_POINTS = 1500; // of one series in this page; with more, all are asked for again, in buckets

const runData = new Map(); // run id -> { generation, rows, series }
const charts = new Map(); // chart key -> { spec, plot, isDirty, isSeen, range, fine }
let replayStep = null;
let replayTimer = null;

const refreshCurves = async () => {
  const runs = curveRuns();
  if (!runs.length) return;
  const loading = loadPlotly();
  const question = runs.map((id) => ({ id, generation: runData.get(id)?.generation, rows: runData.get(id)?.rows ?? 0 }));
  const axis = view.axis;
  const answer = await ask("curves", { runs: question, axis });
  if (!answer || axis !== view.axis) return; // points of another axis would mix
  const started = performance.now();
  let isNew = answer.runs.some(mergePoints);
  const order = runs.join("\n");
  if (byId("tr-charts").dataset.runs !== order) isNew = true;
  byId("tr-charts").dataset.runs = order;
  await loading;
  layOut(answer.charts);
  if (!isNew) return;
  for (const chart of charts.values()) {
    chart.isDirty = true;
    if (chart.range) fetchFine(chart);
  }
  drawSeen();
  byId("tr-charts").dataset.updateMs = (performance.now() - started).toFixed(1);
};

// Whether the answer brought anything.
const mergePoints = (run) => {
  if (run.error) return runData.delete(run.id);
  const has = runData.get(run.id);
  if (!has || run.is_new || has.generation !== run.generation) {
    runData.set(run.id, { generation: run.generation, rows: run.rows, series: run.series });
    return true;
  }
  for (const [metric, points] of Object.entries(run.series)) {
    const series = (has.series[metric] ??= { x: [], y: [] });
    series.x.push(...points.x);
    series.low?.push(...(points.low ?? points.y));
    series.high?.push(...(points.high ?? points.y));
    series.y.push(...points.y);
  }
  const isNew = run.rows !== has.rows;
  has.rows = run.rows;
  if (Object.values(has.series).some((series) => series.x.length > MOST_POINTS)) has.rows = 0;
  return isNew;
};

const layOut = (specs) => {
  const box = byId("tr-charts");
  const layout = specs.map((spec) => `${spec.key}:${spec.metrics}`).join("|");
  if (box.dataset.layout === layout) return;
  box.dataset.layout = layout;
  box.replaceChildren();
  for (const chart of charts.values()) Plotly.purge(chart.plot);
  charts.clear();
  if (!specs.length) {
    box.innerHTML = '<div class="tw-empty"><h3>No points yet</h3><p>The first step draws the first point.</p></div>';
    return;
  }
  let section = null;
  for (const spec of specs) {
    if (section?.dataset.name !== spec.section) {
      section = document.createElement("section");
      section.dataset.name = spec.section;
      section.append(Object.assign(document.createElement("h3"), { textContent: spec.section }));
      section.append(Object.assign(document.createElement("div"), { className: "tr-chart-grid" }));
      box.append(section);
    }
    const figure = document.createElement("figure");
    figure.className = "tr-chart";
    figure.dataset.chart = spec.key;
    const caption = Object.assign(document.createElement("figcaption"), { textContent: spec.title });
    if (spec.unit) caption.append(Object.assign(document.createElement("span"), { textContent: ` ${spec.unit}` }));
    const plot = Object.assign(document.createElement("div"), { className: "tr-plot" });
    figure.append(caption, plot);
    section.lastChild.append(figure);
    charts.set(spec.key, { spec, plot, isDirty: true, isSeen: false });
    seen.observe(figure);
  }
};

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const chart = charts.get(target.dataset.chart);
      if (chart) chart.isSeen = isIntersecting;
    }
    drawSeen();
  },
  { rootMargin: "200px" },
);

const drawSeen = () => {
  for (const chart of charts.values()) {
    if (chart.isSeen && chart.isDirty && chart.plot.isConnected) draw(chart);
  }
};

// Exponential mean that forgets by distance, so that buckets and single points smooth alike; without a bias at the start.
const smoothed = (x, y, weight) => {
  if (!weight || x.length < 3) return y;
  const usual = (x[x.length - 1] - x[0]) / (x.length - 1) || 1;
  let sum = 0;
  let norm = 0;
  return y.map((value, i) => {
    const stay = i ? weight ** ((x[i] - x[i - 1]) / usual) : 0;
    sum = sum * stay + value * (1 - stay);
    norm = norm * stay + (1 - stay);
    return sum / norm;
  });
};

const until = (series) => {
  if (replayStep === null) return series;
  const end = series.x.findIndex((x) => x > replayStep);
  const cut = (values) => values?.slice(0, end < 0 ? undefined : end);
  return { x: cut(series.x), y: cut(series.y), low: cut(series.low), high: cut(series.high) };
};

const tracesOf = (chart, colours) => {
  const traces = [];
  const runs = curveRuns();
  const { metrics } = chart.spec;
  runs.forEach((id, r) =>
    metrics.forEach((metric, m) => {
      const found = chart.fine?.[id]?.[metric] ?? runData.get(id)?.series[metric];
      if (!found?.x.length) return;
      const series = until(found);
      const colour = colours[(runs.length > 1 ? r : m) % colours.length];
      const dash = runs.length > 1 ? ["solid", "dot", "dash", "longdash", "dashdot"][m % 5] : "solid";
      const name = [runs.length > 1 ? id : "", metrics.length > 1 || runs.length === 1 ? metric : ""].filter(Boolean);
      const quiet = { x: series.x, type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false };
      const group = `${id}/${metric}`;
      if (series.low) {
        const edge = { ...quiet, legendgroup: group, line: { width: 0, color: colour } };
        traces.push({ ...edge, y: series.low }, { ...edge, y: series.high, fill: "tonexty", fillcolor: `${colour}2b` });
      } else if (view.smooth > 0 && series.x.length > 2) {
        traces.push({ ...quiet, legendgroup: group, y: series.y, opacity: 0.3, line: { width: 1, color: colour } });
      }
      traces.push({
        x: series.x,
        y: smoothed(series.x, series.y, view.smooth),
        type: "scatter",
        mode: series.x.length < 3 ? "lines+markers" : "lines",
        name: name.join(" "),
        legendgroup: group,
        line: { width: 1.8, color: colour, dash },
        hovertemplate: "%{y:.5g}<extra>%{fullData.name}</extra>",
      });
    }),
  );
  return traces;
};

const draw = (chart) => {
  chart.isDirty = false;
  const css = getComputedStyle(tab);
  const colour = (name) => css.getPropertyValue(name).trim();
  const isDark = document.body.classList.contains("dark");
  const traces = tracesOf(chart, isDark ? DARK : LIGHT);
  const named = traces.filter((trace) => trace.showlegend !== false).length;
  const grid = { gridcolor: colour("--tw-line"), zerolinecolor: colour("--tw-line"), automargin: true };
  const layout = {
    uirevision: `${chart.spec.key}/${view.axis}/${view.log}`,
    height: 210 + (named > 1 ? 18 * Math.ceil(named / 3) : 0),
    margin: { l: 44, r: 10, t: 6, b: 26 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 11, color: colour("--tw-soft") },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--tw-card"), bordercolor: colour("--tw-line"), font: { color: colour("--tw-ink") } },
    xaxis: { ...grid, rangemode: "tozero" },
    yaxis: { ...grid, type: view.log || chart.spec.log ? "log" : "linear", tickformat: "~g" },
    showlegend: named > 1,
    legend: { orientation: "h", x: 0, y: -0.16, font: { size: 11 }, itemwidth: 20 },
    dragmode: "zoom",
  };
  const config = { displaylogo: false, displayModeBar: false, responsive: false, doubleClick: "reset" };
  if (traces.every((trace) => !trace.y.some((y) => y < 0))) layout.yaxis.rangemode = "nonnegative"; // all 0: no -1
  const isFirst = !chart.plot._fullLayout;
  Plotly.react(chart.plot, traces, layout, config);
  if (isFirst) chart.plot.on("plotly_relayout", (change) => onZoom(chart, change));
  byId("tr-charts").dataset.painted = shownRun();
};

// A zoomed range is asked for again with all its points where the whole curve came in buckets.
const onZoom = (chart, change) => {
  const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
  if (change["xaxis.autorange"]) forgetZoom(chart);
  else if (range.every(Number.isFinite)) {
    chart.range = range;
    fetchFine(chart);
  }
};
const forgetZoom = (chart) => {
  chart.range = chart.fine = null;
  chart.isDirty = true;
  drawSeen();
};
const fetchFine = async (chart) => {
  const { metrics } = chart.spec;
  const { range } = chart;
  const isThinned = curveRuns().some((id) => metrics.some((metric) => runData.get(id)?.series[metric]?.low));
  if (!isThinned) return;
  const runs = curveRuns().map((id) => ({ id }));
  const answer = await ask("curves", { runs, axis: view.axis, between: range, metrics });
  if (!answer || chart.range !== range) return;
  chart.fine = Object.fromEntries(answer.runs.filter((run) => run.series).map((run) => [run.id, run.series]));
  chart.isDirty = true;
  drawSeen();
};

const redrawAll = () => {
  for (const chart of charts.values()) chart.isDirty = true;
  drawSeen();
};
const resizeSoon = debounced(() => {
  for (const chart of charts.values()) if (chart.isSeen && chart.plot._fullLayout) Plotly.Plots.resize(chart.plot);
}, 120);
const unzoom = () => {
  for (const chart of charts.values()) {
    if (chart.plot._fullLayout) Plotly.relayout(chart.plot, { "xaxis.autorange": true, "yaxis.autorange": true });
  }
};
const forgetCurves = () => {
  for (const data of runData.values()) data.rows = 0;
  for (const chart of charts.values()) chart.range = chart.fine = null;
};

// A recorded run, drawn as it grew; what is shown is always marked as a replay.
const stopReplay = () => {
  clearInterval(replayTimer);
  replayTimer = replayStep = null;
  byId("tr-replay")?.setAttribute("aria-pressed", "false");
  if (byId("tr-replay-note")) byId("tr-replay-note").textContent = "";
};
const startReplay = () => {
  const ends = [...runData.values()].flatMap((run) => Object.values(run.series).map((series) => series.x.at(-1) ?? 0));
  const end = Math.max(0, ...ends);
  if (!end) return;
  byId("tr-replay").setAttribute("aria-pressed", "true");
  replayStep = 0;
  replayTimer = setInterval(() => {
    replayStep = Math.min(end, replayStep + end / 120);
    const unit = view.axis === "step" ? "step" : "minute";
    byId("tr-replay-note").textContent = `Replay of what was recorded, ${unit} ${Math.round(replayStep)} of ${Math.round(end)}`;
    if (replayStep >= end) stopReplay();
    redrawAll();
  }, 150);
};

const bindCharts = () => {
  const slider = byId("tr-smooth");
  slider.value = view.smooth;
  byId("tr-smooth-shown").textContent = Number(view.smooth).toFixed(2);
  byId("tr-axis").value = view.axis;
  byId("tr-log-scale").checked = view.log;
  slider.addEventListener("input", () => {
    view.smooth = Number(slider.value);
    byId("tr-smooth-shown").textContent = view.smooth.toFixed(2);
    keepView();
    redrawAll();
  });
  byId("tr-axis").addEventListener("change", (event) => {
    view.axis = event.target.value;
    keepView();
    stopReplay();
    forgetCurves();
    refreshCurves();
  });
  byId("tr-log-scale").addEventListener("change", (event) => {
    view.log = event.target.checked;
    keepView();
    redrawAll();
  });
  byId("tr-unzoom").addEventListener("click", unzoom);
  byId("tr-replay").addEventListener("click", () => {
    if (replayTimer === null) startReplay();
    else {
      stopReplay();
      redrawAll();
    }
  });
  new ResizeObserver(resizeSoon).observe(byId("tr-charts"));
  new MutationObserver(redrawAll).observe(document.body, { attributeFilter: ["class"] });
};
