// The Train tab: what is shown, how panels are brought up to date, and how the server is asked.
// All train_*.js share one scope, with `element`, `trigger` and `server` of the component that loads them.
const tab = element.closest(".tw-tab") ?? document.body;
const byId = (id) => document.getElementById(id);

const kept = (key, fallback) => {
  try {
    return { ...fallback, ...JSON.parse(localStorage.getItem(key) ?? "{}") };
  } catch {
    return fallback;
  }
};
const keep = (key, value) => {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // a full or forbidden store: the page works on, it only forgets
  }
};

// What this browser looks at. Runs themselves are the server's business, so a reload loses nothing.
const VIEW_KEY = "tracer1.train.view";
const view = kept(VIEW_KEY, { shown: "", compared: [], panel: "curves", smooth: 0.6, axis: "step", log: false });
const keepView = () => keep(VIEW_KEY, view);
const shownRun = () => (view.shown === "new" ? "" : view.shown);
const curveRuns = () => [shownRun(), ...view.compared.filter((id) => id !== shownRun())].filter(Boolean).slice(0, 8);

// Brings `box` to the state of `html` without replacing what is equal: focus, selection, open details and scrolling stay.
const morph = (box, html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  morphChildren(box, template.content);
};
const morphChildren = (box, fresh) => {
  const old = [...box.childNodes];
  const nodes = [...fresh.childNodes];
  nodes.forEach((node, i) => {
    const was = old[i];
    if (!was) box.append(node);
    else if (was.nodeName !== node.nodeName || was.dataset?.id !== node.dataset?.id) was.replaceWith(node);
    else if (was.nodeType === Node.ELEMENT_NODE) morphElement(was, node);
    else if (was.data !== node.data) was.data = node.data;
  });
  old.slice(nodes.length).forEach((node) => node.remove());
};
const morphElement = (was, node) => {
  for (const { name } of [...was.attributes]) {
    if (!node.hasAttribute(name) && name !== "open") was.removeAttribute(name);
  }
  for (const { name, value } of [...node.attributes]) {
    if (was.getAttribute(name) !== value) was.setAttribute(name, value);
  }
  if (was.type === "checkbox") was.checked = node.hasAttribute("checked");
  morphChildren(was, node);
};

const debounced = (action, milliseconds) => {
  let timer = null;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
};

const isVisible = () => tab.offsetParent !== null && !document.hidden;

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
