/**
 * The widget of labelling.py: shows the question whose turn it is, and sends what is clicked, typed or pressed.
 *
 * `state` says which questions are left and what the file holds. The kernel replies to each message.
 */

const OUT_OF_SCOPE = { id: "", question: "Something that callers may well ask you, but that your FAQ doesn’t answer" };
const OVERDUE_MS = 10_000;

function render({ model, el }) {
  const progress = h("p", { className: "quiet" });
  const heading = h("h3", { ariaLive: "polite" });
  const note = h("p", { ariaLive: "polite" });
  const body = h("div");
  const problem = h("p", { className: "problem", role: "alert" });
  const trust = h("p", { className: "quiet" });
  const undo = button("Undo", "u", () => send({ undo: true }));
  const root = h("section", { className: "faqlab-labels", tabIndex: 0, role: "group", ariaLabel: "Label questions", onkeydown });
  root.append(progress, heading, note, body, problem, trust);
  root.dataset.lmSuppressShortcuts = "true"; // otherwise JupyterLab cuts the cell at an x
  el.append(root);

  const later = new Set(); // the texts of questions that were put off
  const passed = {}; // how often each proposal was passed over, by id
  const saved = []; // the questions that were labelled here
  let first = null; // a question to show before all others: it was typed, or its label undone
  let shown = {}; // the question or the proposal on the screen
  let wanted = ""; // the words for which entries were searched last
  let found = []; // the entries beside it
  let chosen = []; // the ids of those that are ticked
  const sent = []; // the messages to which the kernel hasn't replied, with the question that was shown
  let overdue = 0;

  /** Show the next question, or else a proposal, unless it's on the screen already. */
  function update() {
    const { file, asked, left, labels, undo: undoable } = model.get("state");
    const next = first ?? left.find(({ text }) => !later.has(text)) ?? left[0] ?? proposal(labels);
    const done = asked ? `${asked - left.length} of ${asked} questions done. ` : "";
    progress.textContent = `${done}${labels.length} ${labels.length === 1 ? "label" : "labels"} in ${file}.`;
    trust.textContent = trusted(labels);
    undo.disabled = !undoable;
    if (next.text === shown.text && next.id === shown.id) return;
    const focused = root.contains(document.activeElement);
    [shown, found, chosen] = [next, [], next.chosen ?? []];
    if (next.text) showQuestion();
    else showProposal(asked);
    if (focused) (next.text ? root : body.querySelector("input")).focus();
  }

  function showQuestion() {
    heading.textContent = shown.text;
    note.textContent = shown.note ?? "";
    body.replaceChildren(
      h("p", { className: "quiet" }, "Which entry answers it? Click it or press its number. If several do, tick them: Shift and their numbers."),
      h("ol"),
      h("div", { className: "row actions" },
        button("Save ticked", "Enter", () => label(chosen)),
        button("None: out of scope", "0", () => label([])),
        button("Not a question", "x", () => label([], "not_a_question")),
        button("Later", "l", putOff),
        undo),
      h("div", { className: "row" }, field("Not among them? Search the FAQ", "/", find), field("A question of your own", "a", ask)),
    );
    showEntries();
    find(shown.text);
  }

  function showEntries() {
    const rows = found.map(({ id, question, answer }, n) => {
      const tick = h("input", { type: "checkbox", checked: chosen.includes(id), ariaLabel: `Tick ${question}` });
      tick.dataset.key = `Shift${n + 1}`;
      tick.onchange = () => {
        chosen = tick.checked ? [...chosen, id] : chosen.filter((other) => other !== id);
        body.querySelector("[data-key=Enter]").disabled = !chosen.length;
      };
      const entry = button("", `${n + 1}`, () => label([id]));
      entry.append(h("span", {}, h("b", {}, question), h("span", { className: "answer", title: answer }, answer)));
      return h("li", {}, tick, entry);
    });
    body.querySelector("ol").replaceChildren(...rows);
    body.querySelector("[data-key=Enter]").disabled = !chosen.length;
  }

  function showProposal(asked) {
    heading.textContent = shown.question;
    note.textContent = shown.answer ?? "";
    const similar = shown.similar === shown.question ? undefined : shown.similar;
    body.replaceChildren(
      h("p", { className: "quiet" }, similar ? `Most similar entry: ${similar}` : ""),
      field(`${asked ? "All questions are done. " : ""}How would a caller ask for this, in their own words?`, "a", ask),
      h("div", { className: "row actions" }, button("Another entry", "l", putOff), undo),
    );
  }

  /** Return the entry with the fewest labels, or for every fourth label something out of scope. */
  function proposal(labels) {
    const count = { ...passed };
    for (const { relevant } of labels) for (const id of relevant.length ? relevant : [""]) count[id] = (count[id] ?? 0) + 1;
    const labelsOf = ({ id }) => count[id] ?? 0;
    if (labelsOf(OUT_OF_SCOPE) < Math.floor(labels.length / 4)) return OUT_OF_SCOPE;
    return model.get("proposed").reduce((best, entry) => (labelsOf(entry) < labelsOf(best) ? entry : best));
  }

  function label(ids, kind = `${shown.source.split(" ")[0]}${ids.length ? "" : "_out_of_scope"}`) {
    send({ save: { query: shown.text, relevant: ids.join(" "), kind, source: shown.source } });
  }

  function ask(text) {
    first = { text, source: shown.id ? `typed for ${shown.id}` : "typed", chosen: shown.id ? [shown.id] : [] };
    update();
  }

  function putOff() {
    if (shown.text) later.delete(shown.text), later.add(shown.text);
    else passed[shown.id] = (passed[shown.id] ?? 0) + 1;
    if (model.get("state").left.every(({ text }) => later.has(text))) later.clear();
    first = null;
    update();
  }

  function find(text) {
    wanted = text;
    model.send({ find: text });
  }

  function send(message) {
    if (sent.some(({ question }) => question === shown)) return; // a key was pressed twice
    sent.push({ ...message, question: shown });
    clearTimeout(overdue);
    overdue = setTimeout(() => (problem.textContent = "The kernel doesn’t reply, so this isn’t saved: run this cell again."), OVERDUE_MS);
    model.send(message);
  }

  function onReply(reply) {
    problem.textContent = reply.problem ?? "";
    if (reply.found) {
      if (reply.for !== wanted) return;
      const known = [...model.get("proposed"), ...found];
      const ticked = chosen.map((chosenId) => known.find(({ id }) => id === chosenId)).filter(Boolean);
      const others = reply.found.filter(({ id }) => !chosen.includes(id));
      found = [...ticked, ...others].slice(0, 9);
      if (shown.text) showEntries();
      return;
    }
    clearTimeout(overdue);
    const { save, undo, question } = sent.shift() ?? {};
    if (!reply.problem && undo) first = saved.pop() ?? null;
    if (!reply.problem && save) {
      saved.push(question);
      if (first?.text === question.text) first = null;
    }
    update();
  }

  /** A key presses the button that shows it. */
  function onkeydown(event) {
    const { target, key, code, shiftKey } = event;
    if (key === "Escape") root.focus();
    if (target.matches("input:not([type=checkbox])") || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["Enter", " "].includes(key) && target.matches("button")) return; // it presses itself
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(code)?.[1]; // Shift+1 may be any sign
    const name = digit ? `${shiftKey ? "Shift" : ""}${digit}` : key === "n" ? "0" : key;
    const control = body.querySelector(`[data-key="${CSS.escape(name)}"]`);
    if (!control) return;
    event.preventDefault();
    if (control.matches("input:not([type=checkbox])")) control.focus();
    else control.click();
  }

  model.on("change:state", update);
  model.on("msg:custom", onReply);
  update();
}

/** How well figures are known: ± the half-width of the 95% interval of a share p of n, 1.96 · √(p · (1 − p) / n). */
function trusted(labels) {
  const test = labels.filter(({ split }) => split !== "tune");
  const inside = test.filter(({ relevant }) => relevant.length).length;
  const half = (p, n) => `±${(1.96 * Math.sqrt((p * (1 - p)) / n)).toFixed(2)}`;
  const known = (what, p, n) => (n ? `${what} of ${p} is known to ${half(p, n)}, with 100 more to ${half(p, n + 100)}.` : `with 100, ${what} of ${p} is known to ${half(p, 100)}.`);
  const name = test.some(({ split }) => split) ? "test labels" : "labels";
  return `${inside} ${name} with an answer: ${known("a hit@1", 0.8, inside)} ${test.length - inside} out of scope: ${known("a false answer rate", 0.1, test.length - inside)}`;
}

function field(text, key, use) {
  const input = h("input", { autocomplete: "off", ariaKeyShortcuts: key });
  input.dataset.key = key;
  input.onkeydown = (event) => {
    if (event.key === "Enter" && !event.isComposing && input.value.trim()) use(input.value.trim());
  };
  return h("label", {}, h("kbd", {}, key), text, input);
}

function button(text, key, act) {
  const onclick = ({ detail }) => detail < 2 && act(); // the second click of a double click was meant for what is gone
  const made = h("button", { type: "button", onclick, ariaKeyShortcuts: key }, h("kbd", {}, key), text);
  made.dataset.key = key;
  return made;
}

function h(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export default { render };
