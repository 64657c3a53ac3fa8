import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { type Call, NO_CALL } from "../call";
import type { Lookup } from "../lookup";
import { applyColours, PAGE } from "../config";
import { Page } from "./Page";

const LOOKUP: Lookup = {
  id: "one",
  query: "how long",
  outcome: "decline",
  reason: "below_threshold",
  confidence: 0.3,
  threshold: 0.55,
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

test("title, introduction and colours come from the configuration", () => {
  expect(render({})).toContain(`<h1>${PAGE.title}</h1>`);
  expect(render({})).toContain(PAGE.intro);
  const set: Record<string, string> = {};
  applyColours({ setProperty: (name: string, value: string) => (set[name] = value) } as unknown as CSSStyleDeclaration);
  const [light, dark] = PAGE.colours.accent;
  expect(set["--accent"]).toBe(`light-dark(${light}, ${dark})`);
});

test("the mute button is pressed or not, and always called Mute", () => {
  const button = (muted: boolean) => render({ stage: "connected", muted }).match(/<button[^>]*data-testid="mute".*?<\/button>/)?.[0];
  for (const muted of [true, false]) {
    expect(button(muted)).toContain(`aria-pressed="${muted}"`);
    expect(button(muted)?.replace(/<.*?>/g, "")).toBe("Mute");
  }
});

test("a problem is an alert", () => {
  expect(render({ problem: { kind: "server", text: "The server is gone." } })).toMatch(/role="alert".*The server is gone\./);
});

test("a look-up shows outcome, reason, probabilities and distances", () => {
  const markup = render({
    stage: "connected",
    conversation: [{ kind: "assistant", said: { role: "assistant", segmentId: "a", text: "I do not know.", final: true }, lookups: [LOOKUP] }],
  });
  expect(markup).toContain("No answer");
  expect(markup).toContain("no entry fits well enough");
  expect(markup.match(/--far:\d+%/g)).toEqual(["--far:25%", "--far:75%"]);
  expect(markup.match(/probability <\/span>\d+%/g)).toEqual(["probability </span>75%", "probability </span>25%"]);
  expect(markup).toContain("Probability that the FAQ has the answer: 30% (no answer below 55%)");
});

test("without calibration a look-up shows cosine and distances, and no probability", () => {
  const uncalibrated: Lookup = { ...LOOKUP, outcome: "answer", reason: "uncalibrated", threshold: null };
  const markup = render({ stage: "connected", conversation: [{ kind: "assistant", said: null, lookups: [uncalibrated] }] });
  expect(markup).toContain("Highest cosine 0.30");
  expect(markup.toLowerCase()).not.toContain("probability");
});

test("the choices of a clarifying question are numbered, and no other entry is", () => {
  const clarified: Lookup = { ...LOOKUP, outcome: "clarify", choices: ["Near?"] };
  const markup = render({ stage: "connected", conversation: [{ kind: "assistant", said: null, lookups: [clarified] }] });
  const [near, far] = markup.match(/<summary>.*?<\/summary>/g)?.map((summary) => summary.replace(/<.*?>/g, "")) ?? [];
  expect([near, far]).toEqual(["Choice 1Near?", "Far?"]);
  expect(markup).toContain("Say the number of your question, or a few words from it.");
});

test("words from outside are shown as text, never as markup", () => {
  const markup = render({ stage: "connected", conversation: [{ kind: "notice", notice: { level: "info", text: "<img src=x>" } }] });
  expect(markup).not.toContain("<img");
});

test("a screen reader finds every line in the log, but does not read it over the assistant's voice", () => {
  const markup = render({ stage: "connected", conversation: [{ kind: "caller", said: { role: "caller", segmentId: "a", text: "how", final: false } }] });
  const log = markup.slice(markup.indexOf('data-testid="transcript"'));
  expect(log).toMatch(/^[^>]*role="log"[^>]*aria-live="off"/);
  expect(log.match(/aria-live/g)).toHaveLength(1);
  expect(log).not.toContain("aria-hidden");
});
