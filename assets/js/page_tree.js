// All elements of a page in document order, as programs read them: what assets/js/page_elements.js is for people. Each
// has a `point` of the viewport, in CSS pixels, at which the page itself finds it; null when it is covered or out of
// sight. Runs inside a page of unknown content, which it reads and does not change.
() => {
  const clean = (text) => (text || "").replace(/\s+/g, " ").trim();
  const pointOf = (node, box) => {
    const left = Math.max(0, box.left), top = Math.max(0, box.top);
    const width = Math.min(innerWidth, box.right) - left, height = Math.min(innerHeight, box.bottom) - top;
    if (width < 1 || height < 1) return null;
    for (const parts of [1, 3, 7]) {
      for (let i = 0; i < parts * parts; i++) {
        const x = left + (((i % parts) + 0.5) * width) / parts, y = top + ((Math.floor(i / parts) + 0.5) * height) / parts;
        const found = document.elementFromPoint(x, y);
        if (found && node.contains(found)) return [x, y];
      }
    }
    return null;
  };
  const nodes = [];
  const visit = (node, parent) => {
    const style = getComputedStyle(node), box = node.getBoundingClientRect(), index = nodes.length;
    if (style.display === "none" || ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) return;
    const moved = new DOMMatrix(style.transform);
    const isSeen = style.visibility === "visible" && style.opacity !== "0";
    nodes.push({
      parent, tag: node.tagName.toLowerCase(), id: node.id || "", classes: [...node.classList],
      kind: node.getAttribute("type") || "", text: clean(node.textContent), title: clean(node.getAttribute("title")),
      own_text: clean([...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data).join(" ")),
      value: typeof node.value === "string" ? node.value : null, is_checked: !!node.checked,
      options: node.tagName === "SELECT" ? [...node.options].map((option) => clean(option.label)) : [],
      is_focused: node === document.activeElement,
      color: node.getAttribute("fill") || style.backgroundColor,
      box: [box.left, box.top, box.right, box.bottom], point: isSeen ? pointOf(node, box) : null,
      shift: [moved.e, moved.f],
      scroll: [node.scrollTop, node.scrollHeight - node.clientHeight],
    });
    for (const child of node.children) visit(child, index);
  };
  visit(document.body, -1);
  return nodes;
}
