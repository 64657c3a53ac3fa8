/** The page in a call that never was, to look at without a server: `npm run dev`, then /dev/story.html?state=speaking. Not part of the build. */

import { createRoot } from "react-dom/client";
import { type Call, type CallEvent, NO_CALL, reduceCall, shownState } from "../src/call";
import { Orb } from "../src/components/Orb";
import { Page } from "../src/components/Page";
import type { Lookup } from "../src/lookup";
import type { Role } from "../src/transcript";
import "../src/styles.css";

const delivery: Lookup = {
  id: "one",
  query: "how long does shipping take",
  outcome: "answer",
  confidence: 0.83,
  threshold: 0.55,
  squared_l2_threshold: 1.02,
  hits: [
    { rank: 1, id: "delivery-time", question: "How long does delivery take?", answer: "Standard delivery takes 3 to 5 working days.", squared_l2: 0.41, score: 0.8 },
    { rank: 2, id: "delivery-cost", question: "What does delivery cost, and from which order value on is it free?", answer: "It is free from 40 euros.", squared_l2: 0.87, score: 0.56 },
    { rank: 3, id: "delivery-abroad", question: "Do you ship to other countries?", answer: "Yes, to 27 countries.", squared_l2: 1.13, score: 0.43 },
  ],
  choices: [],
  milliseconds: { embed: 5.1, search: 0.2 },
};
const card: Lookup = {
  ...delivery,
  id: "two",
  query: "something about my card",
  outcome: "ask_back",
  confidence: 0.58,
  hits: [
    { rank: 1, id: "card-declined", question: "Why was my card declined?", answer: "Most often the bank asks for a confirmation.", squared_l2: 0.93, score: 0.53 },
    { rank: 2, id: "gift-card", question: "How do I use a gift card?", answer: "Type its code at the checkout.", squared_l2: 0.95, score: 0.52 },
  ],
  choices: ["a declined card", "a gift card"],
};
const weather: Lookup = {
  ...delivery,
  id: "three",
  query: "will it rain tomorrow",
  outcome: "decline",
  confidence: 0.04,
  hits: [{ rank: 1, id: "delivery-day", question: "Can I choose the day of my delivery?", answer: "Yes, at the checkout.", squared_l2: 1.62, score: 0.19 }],
};

let segment = 0;
const said = (role: Role, text: string, final = true): CallEvent => ({ type: "said", said: { role, segmentId: `s${segment++}`, text, final } });
const talk: CallEvent[] = [
  { type: "join" },
  { type: "microphoneOpened" },
  { type: "connected" },
  { type: "agent", state: "speaking" },
  said("assistant", "Hello! What would you like to know?"),
  said("caller", "How long does shipping take?"),
  { type: "lookup", lookup: delivery },
  said("assistant", "Standard delivery takes three to five working days. You will get an email with a tracking link as soon as the parcel is on its way."),
  { type: "notice", notice: { level: "warning", text: "Gemini is not reachable; going on with the offline voice." } },
  said("caller", "Something about my card."),
  { type: "lookup", lookup: card },
  said("assistant", "Do you mean a declined card, or a gift card?"),
  said("caller", "Will it rain tomorrow?"),
  { type: "lookup", lookup: weather },
];
const endings: Record<string, CallEvent[]> = {
  listening: [said("assistant", "I am sorry, I do not know that."), { type: "agent", state: "listening" }, said("caller", "And how do I", false)],
  thinking: [{ type: "agent", state: "thinking" }],
  speaking: [said("assistant", "I am sorry, I do not", false)],
  muted: [{ type: "agent", state: "listening" }, { type: "muted", muted: true }],
  gone: [{ type: "agent", state: null }, { type: "agentOverdue" }],
  ended: [{ type: "ended", problem: null }],
};
const wanted = new URLSearchParams(window.location.search).get("state") ?? "speaking";
const events = wanted === "waiting" ? talk.slice(0, 3) : [...talk, ...(endings[wanted] ?? [])];
const call: Call = events.reduce(reduceCall, NO_CALL);

const page = document.getElementById("page");
if (page) {
  createRoot(page).render(
    <Page call={call} orb={<Orb state={shownState(call)} level={0.4} />} onJoin={() => {}} onLeave={() => {}} onMute={() => {}} />,
  );
}
