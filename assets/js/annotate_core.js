// The Annotate tab: what is shown, how the server is asked, and how its answers come onto the page.
// All annotate_*.js share the scope of page_core.js.
const VIEW_KEY = "tracer1.annotate.view";
const view = kept(VIEW_KEY, { project: "", panel: "list", open: null });
const keepView = () => keep(VIEW_KEY, view);

const tell = (sentence) => {
  const box = byId("an-page-note");
  if (box.textContent !== sentence) box.textContent = sentence;
  box.hidden = !sentence;
};
// What came of an action, until the next one.
const say = (sentence, tone = "success", box = "an-message") => {
  byId(box).replaceChildren();
  if (!sentence) return;
  const card = document.createElement("div");
  card.className = `tw-card tw-status tw-${tone} tr-message`;
  const words = document.createElement("span");
  words.className = "tw-sentence";
  words.textContent = sentence;
  const dismiss = Object.assign(document.createElement("button"), { type: "button", className: "tr-small", textContent: "✕" });
  dismiss.dataset.act = "dismiss";
  dismiss.setAttribute("aria-label", "Dismiss");
  card.append(words, dismiss);
  byId(box).append(card);
};

// A server that was started again has forgotten who is logged in; what is not stored yet waits here meanwhile.
const loginHint = async () => {
  try {
    const { status } = await fetch(new URL("gradio_api/login_check", document.baseURI));
    return status === 401 ? " It asks who you are: open this address in another tab and log in, this page then goes on." : "";
  } catch {
    return "";
  }
};

// The server's answer, {error, kind} where it refused; null where it is away, which is told.
const ask = async (name, question) => {
  try {
    const answer = await server[name](question);
    tell("");
    useKeysOf(answer.person);
    return answer;
  } catch (error) {
    tell(`The server does not answer (${error.message}). Trying again.${await loginHint()}`);
    return null;
  }
};

const seenParts = {}; // id of a box -> hash of what is in it
const showParts = (answer, prefix = "an-") => {
  for (const [part, { hash, html }] of Object.entries(answer.parts ?? {})) {
    morph(byId(prefix + part), html);
    seenParts[part] = hash;
  }
};

const forgetParts = (...names) => names.forEach((name) => delete seenParts[name]);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
