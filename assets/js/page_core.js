// What a tab that draws itself needs: its element, what this browser remembers, bringing HTML up to date, and Plotly.
// The scripts of one component share one scope, with `element`, `trigger` and `server` of that component.
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

const whenThere = (id, action) => {
  const box = byId(id);
  if (box) action(box);
  else setTimeout(() => whenThere(id, action), 50);
};

const copyCommand = async (button) => {
  const code = button.closest(".tr-command").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code); // no clipboard without https: the text is selected for Ctrl+C
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
};

let plotlyLoad = null;
const loadPlotly = () => {
  plotlyLoad ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve();
    const script = document.createElement("script");
    script.src = new URL(`gradio_api/file=${encodeURI(PLOTLY_URL)}`, document.baseURI).href;
    script.onload = resolve;
    script.onerror = () => reject(new Error("plotly.min.js did not load"));
    document.head.append(script);
  });
  return plotlyLoad;
};
