/** The page in an invented call, to look at without a server: `npm run dev`, then /dev/story.html?state=speaking. Not part of the build. */

import { createRoot } from "react-dom/client";
import { type Call, type CallEvent, NO_CALL, reduceCall, shownState } from "../src/call";
import { Orb } from "../src/components/Orb";
import { Page } from "../src/components/Page";
import { applyColours } from "../src/config";
import { delayProblem, disconnectProblem, microphoneProblem, TokenError } from "../src/errors";
import type { Lookup } from "../src/lookup";
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
    { rank: 1, id: "delivery-standard", question: "How long does standard delivery take and what does it cost?", answer: "Standard home delivery takes 3 to 5 working days from the order and costs £3.95.", squared_l2: 0.62, score: 0.93 },
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
};
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
  { type: "connected" },
  agent("speaking"),
  said("assistant", "Hello! I can answer questions about our shop. What would you like to know?"),
];
const answered: CallEvent[] = [
  said("caller", "How long does shipping take?"),
  lookup(delivery),
  said("assistant", "Standard home delivery takes three to five working days from the order, and costs three pounds ninety-five."),
];
const clarified: CallEvent[] = [
  said("caller", "Something about my card."),
  lookup(card),
  said("assistant", "Do you mean one: How can I check the balance of my gift card? Or two: When will the money be taken from my card?"),
];
const picked: CallEvent[] = [said("caller", "The first one."), lookup(chosen), said("assistant", "Type its code into the gift card page.")];
const wondered: CallEvent[] = [said("caller", "Who won the match last night?"), lookup(match)];
const declined: CallEvent[] = [...wondered, said("assistant", "Sorry, our FAQ doesn't cover that. I can help with orders, delivery and returns.")];
const interrupted: CallEvent[] = [said("caller", "How long does"), lookup({ ...delivery, id: "half" }), ...answered];
const twoLookups: CallEvent[] = [said("caller", "How long does shipping take, and who won?"), lookup(delivery), lookup(match), said("assistant", "Three to five working days.")];
const fallback: CallEvent = { type: "notice", notice: { level: "warning", text: "Gemini can't be reached, so the call continues on the offline models." } };
const talk: CallEvent[] = [...begun, ...answered, fallback, ...clarified, ...declined];
const stories: Record<string, CallEvent[]> = {
  ready: [],
  error: [{ type: "join" }, { type: "ended", problem: microphoneProblem(Object.assign(new Error(), { name: "NotAllowedError" }), true) }],
  delayed: [...begun.slice(0, 2), { type: "delayed", problem: delayProblem(new TokenError(429, null), 42) }],
  waiting: begun.slice(0, 3),
  busy: [...begun.slice(0, 3), { type: "agentOverdue" }],
  missing: [...begun.slice(0, 3), { type: "agentOverdue" }, { type: "agentMissing" }],
  listening: [...begun, agent("listening"), said("caller", "And how do I", false)],
  answered: [...begun, ...answered, agent("listening")],
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
const wanted = new URLSearchParams(window.location.search).get("state") ?? "speaking";
const call: Call = (stories[wanted] ?? talk).reduce(reduceCall, NO_CALL);

const page = document.getElementById("page");
if (page) {
  createRoot(page).render(
    <Page call={call} orb={<Orb state={shownState(call)} level={0.4} />} onJoin={() => {}} onLeave={() => {}} onMute={() => {}} />,
  );
}
