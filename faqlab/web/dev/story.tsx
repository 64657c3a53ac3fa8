/** The page in a call that never was, to look at without a server: `npm run dev`, then /dev/story.html?state=speaking. Not part of the build. */

import { createRoot } from "react-dom/client";
import { type Call, type CallEvent, NO_CALL, reduceCall, shownState } from "../src/call";
import { Orb } from "../src/components/Orb";
import { Page } from "../src/components/Page";
import { disconnectProblem, microphoneProblem } from "../src/errors";
import type { Lookup } from "../src/lookup";
import type { Role } from "../src/transcript";
import "../src/styles.css";

const delivery: Lookup = {
  id: "one",
  query: "How long does shipping take?",
  outcome: "answer",
  confidence: 0.99,
  threshold: 0.54,
  squared_l2_threshold: 1.22,
  hits: [
    { rank: 1, id: "delivery-standard", question: "How long does standard delivery take and what does it cost?", answer: "Standard home delivery takes 3 to 5 working days from the order and costs £3.95.", squared_l2: 0.82, score: 0.59 },
    { rank: 2, id: "card-taken", question: "When will the money be taken from my card?", answer: "On the day on which we send the parcel.", squared_l2: 1.23, score: 0.39 },
    { rank: 3, id: "contact", question: "How and when can I reach customer service?", answer: "By telephone or chat, every day from 8 am to 8 pm.", squared_l2: 1.29, score: 0.36 },
  ],
  choices: [],
  milliseconds: { transcript: 540, turn: 1.2, embed: 5.1, search: 0.2 },
};
const card: Lookup = {
  ...delivery,
  id: "two",
  query: "Something about my card.",
  outcome: "ask_back",
  confidence: 0.94,
  hits: [
    { rank: 1, id: "phishing", question: "I got a suspicious message that claims to come from you; is it genuine?", answer: "We never ask for your password.", squared_l2: 1.06, score: 0.47 },
    { rank: 2, id: "gift-card", question: "How can I check the balance of my gift card?", answer: "Type its code into the gift card page.", squared_l2: 1.17, score: 0.41 },
    { rank: 3, id: "card-taken", question: "When will the money be taken from my card?", answer: "On the day on which we send the parcel.", squared_l2: 1.27, score: 0.36 },
  ],
  choices: ["I got a suspicious message that claims to come from you; is it genuine?", "How can I check the balance of my gift card?"],
};
const match: Lookup = {
  ...delivery,
  id: "three",
  query: "Who won the match last night?",
  outcome: "decline",
  confidence: 0.04,
  hits: [
    { rank: 1, id: "delivery-day", question: "Can I choose the day of my delivery?", answer: "Yes, at the checkout.", squared_l2: 1.62, score: 0.19 },
    { rank: 2, id: "delivery-missed", question: "What happens if I am not at home when the parcel comes?", answer: "The driver tries again on the next day.", squared_l2: 1.68, score: 0.16 },
    { rank: 3, id: "contact", question: "How and when can I reach customer service?", answer: "By telephone or chat, every day from 8 am to 8 pm.", squared_l2: 1.74, score: 0.13 },
  ],
};

let segment = 0;
const said = (role: Role, text: string, final = true): CallEvent => ({ type: "said", said: { role, segmentId: `s${segment++}`, text, final } });
const agent = (state: string | null): CallEvent => ({ type: "agent", state });
const begun: CallEvent[] = [
  { type: "join" },
  { type: "microphoneOpened" },
  { type: "connected" },
  agent("speaking"),
  said("assistant", "Hello! I answer questions from our FAQ. What would you like to know?"),
];
const answered: CallEvent[] = [
  said("caller", "How long does shipping take?"),
  { type: "lookup", lookup: delivery },
  said("assistant", "Standard home delivery takes three to five working days from the order, and costs three pounds ninety-five."),
];
const asked: CallEvent[] = [
  said("caller", "Something about my card."),
  { type: "lookup", lookup: card },
  said("assistant", "Do you mean: I got a suspicious message that claims to come from you; is it genuine? Or: How can I check the balance of my gift card?"),
];
const wondered: CallEvent[] = [said("caller", "Who won the match last night?"), { type: "lookup", lookup: match }];
const declined: CallEvent[] = [...wondered, said("assistant", "I am sorry, I do not know that. I can help with orders, delivery, returns and payment.")];
const fallback: CallEvent = { type: "notice", notice: { level: "warning", text: "Gemini is not reachable; going on with the offline voice." } };
const talk: CallEvent[] = [...begun, ...answered, fallback, ...asked, ...declined];
const stories: Record<string, CallEvent[]> = {
  ready: [],
  error: [{ type: "join" }, { type: "ended", problem: microphoneProblem(Object.assign(new Error(), { name: "NotAllowedError" }), true) }],
  waiting: begun.slice(0, 3),
  listening: [...begun, agent("listening"), said("caller", "And how do I", false)],
  answered: [...begun, ...answered, agent("listening")],
  asked: [...begun, ...asked, agent("listening")],
  declined: [...begun, ...declined, agent("listening")],
  thinking: [...begun, ...answered, ...asked, ...wondered, agent("thinking")],
  speaking: talk,
  muted: [...talk, agent("listening"), { type: "muted", muted: true }],
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
