/** The page in an invented call, to look at without a server: `npm run dev`, then /dev/?state=speaking&details&theme=dark&gemini. Not part of the build. */

import { createRoot } from "react-dom/client";
import { type Call, type CallEvent, NO_CALL, reduceCall, shownState } from "../src/call";
import { Orb } from "../src/components/Orb";
import { MeterBar } from "../src/components/Meter";
import { DeviceSelect } from "../src/components/MicrophonePicker";
import { Page } from "../src/components/Page";
import type { Theme } from "../src/components/Switches";
import { applyColours } from "../src/config";
import { connectionProblem, delayProblem, disconnectProblem, microphoneProblem, TokenError } from "../src/errors";
import type { Lookup } from "../src/lookup";
import type { Site } from "../src/site";
import type { Role } from "../src/transcript";
import "../src/styles.css";

applyColours(document.documentElement.style);

const delivery: Lookup = {
  id: "one",
  query: "How long does shipping take?",
  outcome: "answer",
  reason: "confident",
  confidence: 0.99,
  threshold: 0.57,
  hits: [
    {
      rank: 1,
      id: "delivery-standard",
      question: "How long does standard delivery take and what does it cost?",
      answer: "Standard home delivery takes 3–5 working days from the order and costs £3.95.\nSee the prices for other countries, or write to help@shop.example.",
      links: [{ text: "prices for other countries", href: "https://shop.example/delivery" }],
      squared_l2: 0.62,
      score: 0.93,
    },
    { rank: 2, id: "delivery-express", question: "How fast is express delivery?", answer: "An express parcel arrives on the next working day.", squared_l2: 0.98, score: 0.04 },
    { rank: 3, id: "contact", question: "How and when can I reach customer service?", answer: "By telephone or chat, every day from 8 am to 8 pm.", squared_l2: 1.29, score: 0.01 },
  ],
  choices: [],
  milliseconds: { transcript: 540, turn: 1.2, embed: 5.1, search: 0.2 },
};
const card: Lookup = {
  ...delivery,
  id: "two",
  query: "Something about my card.",
  outcome: "clarify",
  reason: "ambiguous",
  confidence: 0.94,
  hits: [
    { rank: 1, id: "gift-card", question: "How can I check the balance of my gift card?", answer: "Type its code into the gift card page.", squared_l2: 0.91, score: 0.51 },
    { rank: 2, id: "card-taken", question: "When will the money be taken from my card?", answer: "On the day on which we send the parcel.", squared_l2: 0.96, score: 0.29 },
    { rank: 3, id: "card-expired", question: "What if the card I paid with has expired?", answer: "The refund still reaches your account.", squared_l2: 1.27, score: 0.06 },
  ],
  choices: ["How can I check the balance of my gift card?", "When will the money be taken from my card?"],
};
const chosen: Lookup = {
  ...card,
  id: "three",
  query: "The first one.",
  outcome: "answer",
  reason: "chosen",
  choices: [],
  hits: card.hits.map((hit, index) => ({ ...hit, score: index === 0 ? 1 : 0 })),
};
const quick: Lookup = { ...delivery, id: "five", milliseconds: {} };
const match: Lookup = {
  ...delivery,
  id: "four",
  query: "Who won the match last night?",
  outcome: "decline",
  reason: "below_threshold",
  confidence: 0.04,
  hits: [
    { rank: 1, id: "delivery-day", question: "Can I choose the day of my delivery?", answer: "Yes, at the checkout.", squared_l2: 1.62, score: 0.02 },
    { rank: 2, id: "delivery-missed", question: "What happens if I am not at home when the parcel comes?", answer: "The driver tries again on the next day.", squared_l2: 1.68, score: 0.01 },
    { rank: 3, id: "contact", question: "How and when can I reach customer service?", answer: "By telephone or chat, every day from 8 am to 8 pm.", squared_l2: 1.74, score: 0.01 },
  ],
};

let segment = 0;
const said = (role: Role, text: string, final = true): CallEvent => ({ type: "said", said: { role, segmentId: `s${segment++}`, text, final } });
const agent = (state: string | null): CallEvent => ({ type: "agent", state });
const lookup = (of: Lookup): CallEvent => ({ type: "lookup", lookup: of });
const begun: CallEvent[] = [
  { type: "join" },
  { type: "microphoneOpened" },
  { type: "connected", canType: true },
  agent("speaking"),
  said("assistant", "Hello! I can answer questions about our shop. What would you like to know?"),
];
const answered: CallEvent[] = [
  said("caller", "How long does shipping take?"),
  lookup(delivery),
  said("assistant", "Standard home delivery takes 3–5 working days from the order and costs £3.95. Shall I go on?"),
];
const clarified: CallEvent[] = [
  said("caller", "Something about my card."),
  lookup(card),
  said("assistant", "Which one do you mean? One: How can I check the balance of my gift card? Two: When will the money be taken from my card?"),
];
const picked: CallEvent[] = [said("caller", "The first one."), lookup(chosen), said("assistant", "Type its code into the gift card page.")];
const wondered: CallEvent[] = [said("caller", "Who won the match last night?"), lookup(match)];
const declined: CallEvent[] = [...wondered, said("assistant", "Sorry, our FAQ doesn't cover that. I can help with orders, delivery and returns.")];
const interrupted: CallEvent[] = [said("caller", "How long does"), lookup({ ...delivery, id: "half", hits: card.hits, outcome: "decline" }), ...answered];
const twoLookups: CallEvent[] = [said("caller", "How long does shipping take, and who won?"), lookup(match), lookup(delivery), said("assistant", "Three to five working days.")];
const typing: CallEvent[] = [
  { type: "join" },
  said("caller", "How long does shipping take?", false),
  { type: "noMicrophone", problem: null },
  { type: "connected", canType: true },
];
const typed: CallEvent[] = [...typing, agent("listening"), lookup(quick), agent("speaking"), said("assistant", "Standard home delivery takes")];
const fallback: CallEvent = { type: "notice", notice: { level: "warning", text: "Gemini can't be reached, so the call continues on the offline models." } };
const talk: CallEvent[] = [...begun, ...answered, fallback, ...clarified, ...declined];
const blocked = microphoneProblem(Object.assign(new Error(), { name: "NotAllowedError" }), true);
const stories: Record<string, CallEvent[]> = {
  ready: [],
  checked: [{ type: "microphoneOpened" }],
  checkfailed: [{ type: "noMicrophone", problem: blocked }],
  error: [{ type: "join" }, { type: "ended", problem: connectionProblem(new Error(), "ws://127.0.0.1:7880") }],
  asking: [{ type: "join" }],
  delayed: [...begun.slice(0, 2), { type: "delayed", problem: delayProblem(new TokenError(429, null), 42) }],
  waiting: begun.slice(0, 3),
  busy: [...begun.slice(0, 3), { type: "agentOverdue" }],
  missing: [...begun.slice(0, 3), { type: "agentOverdue" }, { type: "agentMissing" }],
  typing,
  typed,
  reading: [...typed, said("assistant", "Let me know if you need anything else."), agent("listening")],
  blocked: [{ type: "join" }, { type: "noMicrophone", problem: blocked }, ...begun.slice(2), agent("listening")],
  listening: [...begun, agent("listening"), said("caller", "And how do I", false)],
  answered: [...begun, ...answered, agent("listening")],
  rated: [...begun, ...answered, { type: "rated", id: "one", helpful: true }, agent("listening")],
  paraphrased: [...begun, said("caller", "How long?"), lookup(delivery), said("assistant", "It takes three to five working days, and costs three pounds ninety-five."), agent("listening")],
  clarified: [...begun, ...clarified, agent("listening")],
  chosen: [...begun, ...clarified, ...picked, agent("listening")],
  declined: [...begun, ...declined, agent("listening")],
  interrupted: [...begun, ...interrupted, agent("listening")],
  twolookups: [...begun, ...twoLookups, agent("listening")],
  thinking: [...begun, ...answered, ...clarified, ...wondered, agent("thinking")],
  speaking: talk,
  muted: [...talk, agent("listening"), { type: "muted", muted: true }],
  unplugged: [...talk, agent("listening"), { type: "microphoneLost" }],
  reconnecting: [...talk, { type: "reconnecting" }],
  gone: [...talk, agent(null), { type: "agentOverdue" }],
  ended: [...talk, { type: "ended", problem: null }],
  lost: [...talk, { type: "ended", problem: disconnectProblem(undefined) }],
};
const STATES = Object.keys(stories);

const parameters = new URLSearchParams(window.location.search);
const theme = (parameters.get("theme") ?? "system") as Theme;
document.documentElement.style.colorScheme = theme === "system" ? "light dark" : theme;
const call: Call = (stories[parameters.get("state") ?? ""] ?? talk).reduce(reduceCall, NO_CALL);
const site: Site = {
  title: "Ask the shop",
  examples: ["How do I return an item?", "Where is my parcel?", "Do you deliver abroad?", "How long do I have to return something that I bought?"],
  gemini: parameters.has("gemini"),
  server: parameters.has("gemini") ? "shop.livekit.cloud" : null,
  saved: true,
};
const devices = ["Default", "Headset (Bluetooth)", "Built-in microphone"].map((label) => ({ deviceId: label, label }));
const nothing = (): void => {};

const page = document.getElementById("page");
if (page) {
  page.dataset.states = STATES.join(" ");
  createRoot(page).render(
    <Page
      call={call}
      site={site}
      actions={{ join: nothing, reconnect: nothing, ask: nothing, rate: nothing, setMuted: nothing, checkMicrophone: nothing, leave: nothing }}
      details={parameters.has("details")}
      onDetails={nothing}
      theme={theme}
      onTheme={nothing}
      orb={<Orb state={shownState(call)} level={0.4} />}
      meter={call.microphone && <MeterBar level={0.55} />}
      picker={call.microphone && <DeviceSelect devices={devices} chosen="Default" onChoose={nothing} />}
    />,
  );
}
