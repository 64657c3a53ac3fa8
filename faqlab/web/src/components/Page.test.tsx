import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { type Call, NO_CALL } from "../call";
import type { Lookup } from "../lookup";
import { Page } from "./Page";

const LOOKUP: Lookup = {
  id: "one",
  query: "how long",
  outcome: "decline",
  confidence: 0.3,
  threshold: 0.55,
  squared_l2_threshold: 1,
  hits: [
    { rank: 1, id: "near", question: "Near?", answer: "Yes.", squared_l2: 0.5, score: 0.75 },
    { rank: 2, id: "far", question: "Far?", answer: "No.", squared_l2: 1.5, score: 0.25 },
  ],
  choices: [],
  milliseconds: { embed: 5.1 },
};

function render(call: Partial<Call>): string {
  return renderToStaticMarkup(<Page call={{ ...NO_CALL, ...call }} orb={null} onJoin={() => {}} onLeave={() => {}} onMute={() => {}} />);
}

test("before the call there is one button", () => {
  expect(render({}).match(/<button/g)).toHaveLength(1);
  expect(render({})).toContain('data-testid="join"');
});

test("mute says once whether it is on: it is pressed or not, and always called Mute", () => {
  const button = (muted: boolean) => render({ stage: "connected", muted }).match(/<button[^>]*data-testid="mute".*?<\/button>/)?.[0];
  for (const muted of [true, false]) {
    expect(button(muted)).toContain(`aria-pressed="${muted}"`);
    expect(button(muted)?.replace(/<.*?>/g, "")).toBe("Mute");
  }
});

test("a problem is an alert", () => {
  expect(render({ problem: { kind: "server", text: "The server is gone." } })).toMatch(/role="alert".*The server is gone\./);
});

test("an answer has its distances beside it, the limit in each bar, and what lies beyond it marked", () => {
  const markup = render({
    stage: "connected",
    conversation: [{ kind: "assistant", said: { role: "assistant", segmentId: "a", text: "I do not know.", final: true }, lookups: [LOOKUP] }],
  });
  expect(markup).toContain("Did not know");
  expect(markup).toContain('data-hit-id="near" data-beyond="false"');
  expect(markup).toContain('data-hit-id="far" data-beyond="true"');
  expect(markup.match(/--limit:50%/g)).toHaveLength(2);
  expect(markup).toContain("Confidence 0.30, “I don’t know” below 0.55");
});

test("the choices of an ask-back are numbered where they stand among the entries, and no other entry is", () => {
  const asked: Lookup = { ...LOOKUP, outcome: "ask_back", choices: ["Near?"] };
  const markup = render({ stage: "connected", conversation: [{ kind: "assistant", said: null, lookups: [asked] }] });
  const [near, far] = markup.match(/<summary>.*?<\/summary>/g)?.map((summary) => summary.replace(/<.*?>/g, "")) ?? [];
  expect([near, far]).toEqual(["Choice 1Near?", "Far?"]);
  expect(markup).toContain("Say which: its number, or words of it.");
});

test("words from outside are text, never markup", () => {
  const markup = render({ stage: "connected", conversation: [{ kind: "notice", notice: { level: "info", text: "<img src=x>" } }] });
  expect(markup).not.toContain("<img");
});

test("no line is read aloud over the assistant's voice; a screen reader finds them all in the log", () => {
  const markup = render({ stage: "connected", conversation: [{ kind: "caller", said: { role: "caller", segmentId: "a", text: "how", final: false } }] });
  const log = markup.slice(markup.indexOf('data-testid="transcript"'));
  expect(log).toMatch(/^[^>]*role="log"[^>]*aria-live="off"/);
  expect(log.match(/aria-live/g)).toHaveLength(1);
  expect(log).not.toContain("aria-hidden");
});
