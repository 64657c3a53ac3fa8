import { describe, expect, test } from "vitest";
import type { Lookup } from "./lookup";
import { addLookup, addNotice, addSaid, close, type Conversation, rate, type Role, written } from "./transcript";

function lookup(id: string): Lookup {
  return { id, query: id, outcome: "answer", reason: null, confidence: null, threshold: null, hits: [], choices: [], milliseconds: {} };
}

function say(conversation: Conversation, role: Role, segmentId: string, text: string, final = true): Conversation {
  return addSaid(conversation, { role, segmentId, text, final });
}

/** One string per entry: "caller: text", "assistant: text [look-ups]". */
function outline(conversation: Conversation): string[] {
  return conversation.map((entry) => {
    if (entry.kind === "notice") return `notice: ${entry.notice.text}`;
    if (entry.kind === "caller") return `caller: ${entry.said.text}`;
    return `assistant: ${entry.said?.text ?? "…"} [${entry.lookups.map((one) => one.id).join(" ")}]`;
  });
}

describe("what is said", () => {
  test("an interim transcript is replaced by a later one of its segment", () => {
    let conversation = say([], "caller", "a", "how long", false);
    conversation = say(conversation, "caller", "a", "how long does it take", true);
    expect(outline(conversation)).toEqual(["caller: how long does it take"]);
  });

  test("an interim transcript that arrives after the final one changes nothing", () => {
    const conversation = say([], "caller", "a", "how long does it take");
    expect(say(conversation, "caller", "a", "how long", false)).toBe(conversation);
  });

  test("an empty final keeps the words that were there, and ends the line", () => {
    const conversation = say(say([], "assistant", "a", "Hello", false), "assistant", "a", "");
    expect(conversation).toEqual([{ kind: "assistant", said: { role: "assistant", segmentId: "a", text: "Hello", final: true }, lookups: [] }]);
  });

  test("silence makes no line", () => {
    expect(say([], "caller", "a", "  ")).toEqual([]);
  });

  test("a growing line stays where it began, even if the other side talks at the same time", () => {
    let conversation = say([], "assistant", "a", "Standard", false);
    conversation = say(conversation, "caller", "b", "wait");
    conversation = say(conversation, "assistant", "a", "Standard delivery");
    expect(outline(conversation)).toEqual(["assistant: Standard delivery []", "caller: wait"]);
  });

  test("the end of a call ends its open lines", () => {
    const conversation = close(say([], "assistant", "a", "Standard", false), true);
    expect(conversation[0]).toMatchObject({ said: { text: "Standard", final: true } });
  });
});

describe("look-ups", () => {
  test("a look-up belongs to the answer that follows it", () => {
    let conversation = say([], "assistant", "a", "Hello");
    conversation = say(conversation, "caller", "b", "how long");
    conversation = addLookup(conversation, lookup("one"));
    conversation = say(conversation, "assistant", "c", "Three days", false);
    conversation = say(conversation, "assistant", "c", "Three days or so");
    expect(outline(conversation)).toEqual(["assistant: Hello []", "caller: how long", "assistant: Three days or so [one]"]);
  });

  test("two look-ups for one answer are shown together", () => {
    let conversation = say([], "caller", "a", "how long and how much");
    conversation = addLookup(addLookup(conversation, lookup("one")), lookup("two"));
    conversation = say(conversation, "assistant", "b", "Three days");
    expect(outline(conversation)).toEqual(["caller: how long and how much", "assistant: Three days [one two]"]);
  });

  test("a second answer without a look-up does not take the one before", () => {
    let conversation = addLookup(say([], "caller", "a", "how long"), lookup("one"));
    conversation = say(conversation, "assistant", "b", "Three days");
    conversation = say(conversation, "assistant", "c", "Anything else?");
    expect(outline(conversation)).toEqual(["caller: how long", "assistant: Three days [one]", "assistant: Anything else? []"]);
  });

  test("a caller who interrupts before the answer leaves the look-up without one", () => {
    let conversation = addLookup(say([], "caller", "a", "how long does"), lookup("half"));
    conversation = say(conversation, "caller", "b", "how long does shipping take");
    conversation = addLookup(conversation, lookup("whole"));
    conversation = say(conversation, "assistant", "c", "Three days");
    expect(outline(conversation)).toEqual([
      "caller: how long does",
      "assistant: … [half]",
      "caller: how long does shipping take",
      "assistant: Three days [whole]",
    ]);
  });

  test("a question whose transcript arrives after its look-up is shown before it", () => {
    let conversation = addLookup(say([], "assistant", "a", "Hello"), lookup("one"));
    conversation = say(conversation, "caller", "b", "how long");
    conversation = say(conversation, "assistant", "c", "Three days");
    expect(outline(conversation)).toEqual(["assistant: Hello []", "caller: how long", "assistant: Three days [one]"]);
  });

  test("a question whose transcript arrives while it is being answered is shown before the answer", () => {
    let conversation = addLookup([], lookup("one"));
    conversation = say(conversation, "assistant", "a", "Three", false);
    conversation = say(conversation, "caller", "b", "how long");
    expect(outline(conversation)).toEqual(["caller: how long", "assistant: Three [one]"]);
  });

  test("a notice between look-up and answer does not separate them", () => {
    let conversation = addLookup(say([], "caller", "a", "how long"), lookup("one"));
    conversation = addNotice(conversation, { level: "info", text: "offline now" });
    conversation = say(conversation, "assistant", "b", "Three days");
    expect(outline(conversation)).toEqual(["caller: how long", "assistant: Three days [one]", "notice: offline now"]);
  });
});

describe("an answer in writing", () => {
  const answer = "Call (415) 555-0134, Mon–Fri, 9:00 a.m. - 5:30 p.m.";
  const found: Lookup = { ...lookup("one"), hits: [{ rank: 1, id: "call", question: "How do I call?", answer, squared_l2: 0.1, score: 0.9 }] };
  const spoken = (text: string) => ({ role: "assistant", segmentId: "a", text, final: true }) as const;

  test("is read instead of as much as was spoken of it", () => {
    for (const said of [null, spoken("Call (415)"), spoken("call 415 555 0134"), spoken(answer)]) expect(written([found], said)).toEqual({ answer, links: [], instead: true, after: "" });
  });

  test("is read whole when the voice stops and offers to go on", () => {
    const long = { ...found, hits: [{ ...found.hits[0]!, answer: "It takes 3 days. Abroad it takes 8 days." }] };
    for (const after of ["Shall", "Shall I go on?"]) {
      expect(written([long], spoken(`It takes 3 days. ${after}`))).toMatchObject({ answer: "It takes 3 days. Abroad it takes 8 days.", instead: true, after });
    }
  });

  test("is read below other words", () => {
    for (const said of [spoken("Call four one five"), spoken("We're there all day. Call us.")]) expect(written([found], said)).toMatchObject({ instead: false, after: "" });
  });

  test("is there for one entry only", () => {
    expect(written([], spoken("Hello"))).toBeNull();
    expect(written([{ ...found, outcome: "decline" }], null)).toBeNull();
    expect(written([{ ...found, reason: "two_questions" }], null)).toBeNull();
  });

  test("is rated by the id of its look-up", () => {
    const conversation = addLookup(addLookup(say([], "caller", "a", "how"), found), lookup("two"));
    expect(rate(conversation, "one", false)[1]).toMatchObject({ helpful: false });
    expect(rate(conversation, "other", false)).toEqual(conversation);
  });
});

test("what is typed before its turn stays at the end, and keeps its place when it is sent", () => {
  const pending = (conversation: Conversation, id: string): Conversation =>
    addSaid(conversation, { role: "caller", segmentId: id, text: id, final: false, pending: true });
  const sent = (conversation: Conversation, id: string): Conversation => say(conversation, "caller", id, id);
  let conversation = sent(pending(pending([], "one"), "two"), "one");
  conversation = say(addLookup(conversation, lookup("l1")), "assistant", "a", "First.");
  conversation = close(addNotice(conversation, { level: "info", text: "Note" }), false);
  conversation = addLookup(sent(conversation, "two"), lookup("l2"));
  expect(outline(conversation)).toEqual(["caller: one", "assistant: First. [l1]", "notice: Note", "caller: two", "assistant: … [l2]"]);
  expect(outline(say(close(pending([], "late"), true), "assistant", "b", "Hi."))).toEqual(["caller: late", "assistant: Hi. []"]);
});
