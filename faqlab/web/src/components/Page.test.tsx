import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { type Call, NO_CALL } from "../call";
import type { Lookup } from "../lookup";
import { applyColours, PAGE } from "../config";
import type { Site } from "../site";
import { Page, type PageProps } from "./Page";

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

const SITE: Site = { title: "Ask Ada", examples: ["Near?", "Far?"], gemini: false, server: null, saved: false };
const nothing = (): void => {};
const ACTIONS = { join: nothing, reconnect: nothing, ask: nothing, rate: nothing, setMuted: nothing, checkMicrophone: nothing, leave: nothing };

function render(call: Partial<Call>, props: Partial<PageProps> = {}): string {
  return renderToStaticMarkup(
    <Page
      call={{ ...NO_CALL, ...call }}
      site={SITE}
      actions={ACTIONS}
      details={false}
      onDetails={nothing}
      theme="system"
      onTheme={nothing}
      orb={null}
      meter={null}
      picker={null}
      {...props}
    />,
  );
}

/** The page with its evidence. */
const withDetails = (call: Partial<Call>): string => render(call, { details: true });

const answering = (said: string | null, lookup: Lookup, call: Partial<Call> = {}): Partial<Call> => ({
  stage: "connected",
  ...call,
  conversation: [{ kind: "assistant", said: said === null ? null : { role: "assistant", segmentId: "a", text: said, final: true }, lookups: [lookup] }],
});

test("before the call Join comes first, then examples, then the text field", () => {
  const markup = render({});
  const places = ["join", "example", "question", "check"].map((name) => markup.indexOf(`data-testid="${name}"`));
  expect(places).toEqual([...places].sort((one, other) => one - other));
  expect(places[0]).toBeGreaterThan(0);
  expect(markup.match(/data-testid="example"/g)).toHaveLength(2);
});

test("without word from the server the page does without examples and makes no promise", () => {
  const markup = render({}, { site: null });
  expect(markup).toContain('data-testid="join"');
  expect(markup).not.toMatch(/data-testid="example"|class="privacy"/);
});

test("the title comes from the server, introduction and colours from the configuration", () => {
  expect(render({})).toContain("<h1>Ask Ada</h1>");
  expect(render({})).toContain(PAGE.intro);
  const set: Record<string, string> = {};
  applyColours({ setProperty: (name: string, value: string) => (set[name] = value) } as unknown as CSSStyleDeclaration);
  const [light, dark] = PAGE.colours.accent;
  expect(set["--accent"]).toBe(`light-dark(${light}, ${dark})`);
});

test("the privacy line says who receives what callers say, and what is kept", () => {
  const local = PAGE.privacy(SITE);
  expect(local).toMatch(/operator's own computer.*isn't recorded.*forgotten/);
  expect(local).not.toMatch(/Google|LiveKit/);
  const cloud = PAGE.privacy({ ...SITE, gemini: true, server: "shop.livekit.cloud", saved: true });
  expect(cloud).toMatch(/Google receives.*LiveKit Cloud.*saved as text/);
  expect(cloud).not.toMatch(/own computer|forgotten/);
  expect(PAGE.privacy({ ...SITE, server: "calls.example.com" })).toContain("goes through calls.example.com");
});

test("the microphone button says what it will do", () => {
  const button = (call: Partial<Call>) => render({ stage: "connected", ...call }).match(/<button[^>]*data-testid="mute".*?<\/button>/)?.[0]?.replace(/<.*?>/g, "");
  expect(button({ microphone: true })).toBe("Mute");
  expect(button({ microphone: true, muted: true })).toBe("Unmute");
  expect(button({ microphone: false })).toBe("Turn on microphone");
});

test("muted is a state, which looks different from listening", () => {
  const call: Partial<Call> = { stage: "connected", agent: "listening", microphone: true };
  expect(render(call)).toContain('data-state="listening"');
  const muted = render({ ...call, muted: true });
  expect(muted).toMatch(/data-state="muted"><strong>Muted/);
  expect(muted).toContain('data-off="true"');
});

test("a call that was lost, or waits in vain, offers to reconnect", () => {
  const lost = render({ stage: "ended", problem: { kind: "server", text: "Lost." } });
  expect(lost.match(/<button[^>]*data-testid="join".*?<\/button>/)?.[0]).toContain("Reconnect");
  expect(render({ stage: "ended" }).match(/<button[^>]*data-testid="join".*?<\/button>/)?.[0]).toContain("Join again");
  const waiting: Partial<Call> = { stage: "connected", agent: null };
  expect(render(waiting)).not.toContain('data-testid="reconnect"');
  expect(render({ ...waiting, agentOverdue: true })).toContain('data-testid="reconnect"');
});

test("callers who may not type see no text field, and can't tap", () => {
  const clarified: Lookup = { ...LOOKUP, outcome: "clarify", choices: ["Near?"] };
  expect(render(answering("Which one?", clarified))).toMatch(/data-testid="question"/);
  const mute = render(answering("Which one?", clarified, { canType: false }));
  expect(mute).not.toMatch(/data-testid="question"/);
  expect(mute).toMatch(/data-testid="choice" disabled/);
});

test("hints to the operator are among the details only", () => {
  const problem = { kind: "server", text: "The server is gone.", operator: "start it again" } as const;
  expect(render({ problem })).not.toContain("start it again");
  expect(withDetails({ problem })).toContain("start it again");
});

test("an answer is shown as the FAQ has it, whole, also while it is spoken", () => {
  const delivery: Lookup = { ...LOOKUP, outcome: "answer", hits: [{ ...LOOKUP.hits[0]!, answer: "It takes 3 days.\nSee our help.", links: [{ text: "our help", href: "https://shop.example/help" }] }] };
  for (const said of [null, "It takes", "It takes 3 days. See our help."]) {
    const markup = render(answering(said, delivery));
    expect(markup).toContain('It takes 3 days.\nSee <a href="https://shop.example/help" target="_blank" rel="noopener noreferrer">our help</a>.');
    expect(markup).not.toContain("In the FAQ");
  }
  const reworded = render(answering("In three days.", delivery));
  expect(reworded).toMatch(/In three days\..*In the FAQ: Near\?.*It takes 3 days\./s);
});

test("only answers can be rated, once they were given", () => {
  const answered: Lookup = { ...LOOKUP, outcome: "answer" };
  const site = { ...SITE, saved: true };
  expect(render(answering("Yes.", answered), { site })).toContain('data-testid="helpful"');
  for (const call of [answering(null, answered), answering("No.", LOOKUP)]) expect(render(call, { site })).not.toContain('data-testid="helpful"');
});

test("answers can be rated only where that is saved and callers were informed", () => {
  const call = answering("Yes.", { ...LOOKUP, outcome: "answer" });
  for (const site of [SITE, null]) expect(render(call, { site })).not.toContain('data-testid="helpful"');
  expect(PAGE.privacy({ ...SITE, saved: true })).toContain("and so is whether an answer helped");
});

test("the evidence is shown with the details only", () => {
  const call = answering("Yes.", LOOKUP);
  expect(render(call)).not.toContain('data-testid="lookup"');
  expect(withDetails(call)).toContain('data-testid="lookup"');
});

test("a problem is an alert", () => {
  expect(render({ problem: { kind: "server", text: "The server is gone." } })).toMatch(/role="alert".*The server is gone\./);
});

test("a look-up shows outcome, reason, probabilities and distances", () => {
  const markup = withDetails(answering("I do not know.", LOOKUP));
  expect(markup).toContain("No answer");
  expect(markup).toContain("no entry fits well enough");
  expect(markup.match(/--share:\d+%/g), "bars in the order of the entries").toEqual(["--share:75%", "--share:25%"]);
  expect(markup).toMatch(/0\.50.*1\.50/s);
  expect(markup.match(/probability <\/span>\d+%/g)).toEqual(["probability </span>75%", "probability </span>25%"]);
  expect(markup).toContain("Probability that the FAQ has the answer: 30% (no answer below 55%)");
});

test("without calibration a look-up shows cosine and distances, and no probability", () => {
  const uncalibrated: Lookup = { ...LOOKUP, outcome: "answer", reason: "uncalibrated", threshold: null };
  const markup = withDetails(answering(null, uncalibrated));
  expect(markup.match(/--share:\d+%/g)).toEqual(["--share:25%", "--share:75%"]);
  expect(markup).toContain("Highest cosine 0.30");
  expect(markup.toLowerCase()).not.toContain("probability");
});

test("the choices of a clarifying question can be tapped, and stand instead of their spoken form", () => {
  const clarified: Lookup = { ...LOOKUP, outcome: "clarify", choices: ["Near?", "Far?"] };
  const markup = withDetails(answering("Which one do you mean? One: Near? Two: Far?", clarified));
  expect(markup.match(/data-testid="choice".*?<\/button>/g)?.map((chip) => chip.replace(/^[^>]*>|<.*?>/g, ""))).toEqual(["1Near?", "2Far?"]);
  expect(markup).toContain("<p>Which one do you mean?</p>");
  expect(markup.match(/<summary>.*?<\/summary>/g)?.map((summary) => summary.replace(/<.*?>/g, ""))).toEqual(["Choice 1Near?", "Choice 2Far?"]);
});

test("words from outside are shown as text, never as markup", () => {
  const markup = render({ stage: "connected", conversation: [{ kind: "notice", notice: { level: "info", text: "<img src=x>" } }] });
  expect(markup).not.toContain("<img");
});

test("a screen reader finds every line in the log, but does not read it over the assistant's voice", () => {
  const markup = render({ stage: "connected", conversation: [{ kind: "caller", said: { role: "caller", segmentId: "a", text: "how", final: false } }] });
  const log = markup.slice(markup.indexOf('data-testid="transcript"'), markup.indexOf("<footer"));
  expect(log).toMatch(/^[^>]*role="log"[^>]*aria-live="off"/);
  expect(log.match(/aria-live/g)).toHaveLength(1);
  expect(log).not.toContain("aria-hidden");
});
