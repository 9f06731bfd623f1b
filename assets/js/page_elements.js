// The elements of a page that a person could point at, as far as the page itself confirms them: every box returned has a
// middle at which document.elementFromPoint finds the element, something in it, or its label. Pixels are CSS pixels of
// the viewport. Runs inside a page of unknown content, which it reads and does not change.
(limit) => {
  const CLICKABLE = "a[href],button,input:not([type=hidden]),select,textarea,summary,option,label,[onclick],[role=button]," +
    "[role=link],[role=checkbox],[role=radio],[role=switch],[role=tab],[role=menuitem],[role=option],[role=slider]," +
    "[role=textbox],[role=combobox],[contenteditable=''],[contenteditable=true]";
  const ROLES = { a: "link", button: "button", select: "dropdown", textarea: "field", summary: "button", option: "option",
    label: "text", img: "image", svg: "image" };
  const INPUTS = { checkbox: "checkbox", radio: "radio", range: "slider", button: "button", submit: "button",
    reset: "button", image: "button", file: "button", color: "button" };
  const ARIA = { textbox: "field", combobox: "field", searchbox: "field", img: "image" };
  const clean = (text) => (text || "").replace(/\s+/g, " ").trim().slice(0, 200);

  const roleOf = (node) => {
    const said = (node.getAttribute("role") || "").split(" ")[0];
    if (said && said !== "presentation" && said !== "none") return ARIA[said] || said;
    const tag = node.tagName.toLowerCase();
    if (tag === "input") return INPUTS[node.type] || "field";
    if (node.isContentEditable) return "field";
    return ROLES[tag] || "";
  };
  const labelOf = (node, role) => {
    const by = (node.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean)
      .map((id) => node.getRootNode().getElementById?.(id)?.textContent).join(" ");
    const named = clean(by) || clean(node.getAttribute("aria-label")) || clean(node.labels?.[0]?.textContent);
    if (named) return named;
    const tag = node.tagName.toLowerCase();
    if (tag === "input" && role === "button") return clean(node.value) || clean(node.alt) || clean(node.title);
    if (["field", "dropdown", "slider", "checkbox", "radio"].includes(role)) {
      return clean(node.placeholder) || clean(node.title) || clean(node.name) || clean(node.id);
    }
    return clean(node.innerText ?? node.textContent) || clean(node.alt) || clean(node.title) ||
      clean(node.querySelector?.("img[alt]")?.alt);
  };
  const valueOf = (node, role) => {
    if (node.type === "password") return null;
    if (role === "dropdown") return clean(node.selectedOptions?.[0]?.textContent);
    if (node.type === "checkbox" || node.type === "radio") return node.checked ? "on" : "off";
    if (node.hasAttribute("aria-checked")) return node.getAttribute("aria-checked") === "true" ? "on" : "off";
    if (role === "slider" && node.max !== undefined) {
      const [low, high] = [Number(node.min || 0), Number(node.max || 100)];
      return high > low ? String(Math.round((100 * (node.value - low)) / (high - low))) : null;
    }
    if (role === "field") return clean(node.value ?? node.textContent);
    return null;
  };
  const hits = (node, x, y) => {
    let found = document.elementFromPoint(x, y);
    while (found?.shadowRoot) {
      const inner = found.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === found) break;
      found = inner;
    }
    return !!found && (node === found || node.contains(found) || found.contains(node) && isOnlyText(found, node));
  };
  const isOnlyText = (outer, inner) => outer.tagName === "LABEL" || outer.tagName === "BUTTON" || outer.tagName === "A";
  const boxOf = (node) => {
    const all = node.getBoundingClientRect();
    const left = Math.max(0, all.left), top = Math.max(0, all.top);
    const right = Math.min(innerWidth, all.right), bottom = Math.min(innerHeight, all.bottom);
    if (right - left < 1 || bottom - top < 1) return null;
    const width = right - left, height = bottom - top;
    if (hits(node, left + width / 2, top + height / 2)) return [left, top, right, bottom];
    for (const parts of [3, 7]) {  // covered in the middle: the cell of a grid whose middle is free
      for (let i = 0; i < parts * parts; i++) {
        const x = left + ((i % parts) * width) / parts, y = top + (Math.floor(i / parts) * height) / parts;
        if (hits(node, x + width / parts / 2, y + height / parts / 2)) return [x, y, x + width / parts, y + height / parts];
      }
    }
    return null;
  };

  const found = [];
  const visit = (node) => {
    if (found.length >= limit) return;
    const style = getComputedStyle(node);
    if (style.display === "none") return;
    const isVisible = style.visibility === "visible" && style.opacity !== "0";
    const isPointer = style.cursor === "pointer" && getComputedStyle(node.parentElement || node).cursor !== "pointer";
    const isClickable = (node.matches(CLICKABLE) || isPointer) && !node.disabled;
    const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (isVisible && (node.matches(CLICKABLE) || isPointer || hasText || node.tagName === "IMG")) {
      const box = boxOf(node), role = roleOf(node) || (isPointer ? "button" : "text");
      const text = labelOf(node, role);
      if (box && (text || isClickable)) {
        found.push({ role, text, box, value: valueOf(node, role), id: node.id || "",
          is_clickable: isClickable && role !== "text", is_focused: node === document.activeElement });
      }
    }
    for (const child of node.children) visit(child);
    if (node.shadowRoot) for (const child of node.shadowRoot.children) visit(child);
  };
  if (document.body) visit(document.body);
  return found;
}
