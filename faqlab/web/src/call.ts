/** The state of a call, and its words: events go in, what the page shows comes out. Pure functions. */

import { ASSISTANT_MISSING, MICROPHONE_LOST, type Problem } from "./errors";
import type { Lookup } from "./lookup";
import type { Notice } from "./notice";
import { addLookup, addNotice, addSaid, close, type Conversation, rate, type Said } from "./transcript";

export type Stage = "ready" | "microphone" | "connecting" | "connected" | "reconnecting" | "ended";

/** From livekit-agents, in the participant attribute `lk.agent.state`. */
export type AgentState = "initializing" | "idle" | "listening" | "thinking" | "speaking";

export interface Call {
  readonly stage: Stage;
  /** Null while no assistant is in the call. */
  readonly agent: AgentState | null;
  readonly agentWasThere: boolean;
  /** The assistant has been awaited for longer than it takes to join. */
  readonly agentOverdue: boolean;
  /** Without a microphone the caller types. */
  readonly microphone: boolean;
  readonly muted: boolean;
  /** Callers who share a room can't type. */
  readonly canType: boolean;
  readonly problem: Problem | null;
  readonly conversation: Conversation;
}

export type CallEvent =
  /** After a lost call the conversation is kept. */
  | { readonly type: "join"; readonly keep?: boolean }
  | { readonly type: "microphoneOpened" }
  /** There is none, with the reason, or the caller wants none. */
  | { readonly type: "noMicrophone"; readonly problem: Problem | null }
  /** There is no token yet; the page asks again by itself. */
  | { readonly type: "delayed"; readonly problem: Problem }
  /** To a new room, at the start of a call or after the connection was lost. */
  | { readonly type: "connected"; readonly canType: boolean }
  | { readonly type: "reconnecting" }
  | { readonly type: "reconnected" }
  | { readonly type: "ended"; readonly problem: Problem | null }
  | { readonly type: "agent"; readonly state: string | null }
  | { readonly type: "agentOverdue" }
  | { readonly type: "agentMissing" }
  | { readonly type: "muted"; readonly muted: boolean }
  | { readonly type: "microphoneLost" }
  | { readonly type: "said"; readonly said: Said }
  | { readonly type: "rated"; readonly id: string; readonly helpful: boolean }
  | { readonly type: "lookup"; readonly lookup: Lookup }
  | { readonly type: "notice"; readonly notice: Notice };

export const NO_CALL: Call = {
  stage: "ready",
  agent: null,
  agentWasThere: false,
  agentOverdue: false,
  microphone: false,
  muted: false,
  canType: true,
  problem: null,
  conversation: [],
};

/** A free assistant joins within this time, and one that has said goodbye ends the call within it. */
export const AGENT_OVERDUE_MS = 2_000;
/** After this time the page no longer only asks for patience. */
export const AGENT_MISSING_MS = 180_000;

export function isUnderWay(call: Call): boolean {
  return call.stage !== "ready" && call.stage !== "ended";
}

export function reduceCall(call: Call, event: CallEvent): Call {
  switch (event.type) {
    case "join":
      return { ...NO_CALL, stage: "microphone", conversation: event.keep ? close(call.conversation, true) : [] };
    case "microphoneOpened":
      return { ...call, stage: afterMicrophone(call), microphone: true, problem: without("microphone", call.problem) };
    case "noMicrophone":
      return { ...call, stage: afterMicrophone(call), microphone: false, problem: event.problem ?? call.problem };
    case "delayed":
      return { ...call, problem: event.problem };
    case "connected":
      return {
        ...call,
        stage: "connected",
        canType: event.canType,
        agent: null,
        agentWasThere: false,
        agentOverdue: false,
        problem: call.problem?.kind === "microphone" ? call.problem : null,
        conversation: close(call.conversation, false),
      };
    case "reconnected":
      return { ...call, stage: "connected" };
    case "reconnecting":
      return { ...call, stage: "reconnecting" };
    case "ended": {
      // A call that was never established leads back to the start, with the reason.
      const established = call.stage === "connected" || call.stage === "reconnecting";
      return {
        ...call,
        stage: established || call.stage === "ended" ? "ended" : "ready",
        agent: null,
        problem: event.problem,
        conversation: close(call.conversation, true),
      };
    }
    case "agent":
      return agentChanged(call, event.state);
    case "agentOverdue":
      return { ...call, agentOverdue: true };
    case "agentMissing":
      return { ...call, problem: call.problem ?? ASSISTANT_MISSING };
    case "muted":
      return { ...call, muted: event.muted, problem: event.muted ? call.problem : without("microphone", call.problem) };
    case "microphoneLost":
      return { ...call, muted: true, problem: MICROPHONE_LOST };
    case "said":
      return { ...call, conversation: addSaid(call.conversation, event.said) };
    case "rated":
      return { ...call, conversation: rate(call.conversation, event.id, event.helpful) };
    case "lookup":
      return { ...call, conversation: addLookup(call.conversation, event.lookup) };
    case "notice":
      return { ...call, conversation: addNotice(call.conversation, event.notice) };
  }
}

function afterMicrophone(call: Call): Stage {
  return call.stage === "microphone" ? "connecting" : call.stage;
}

function agentChanged(call: Call, state: string | null): Call {
  if (state === null) return { ...call, agent: null };
  return {
    ...call,
    agent: isAgentState(state) ? state : "initializing",
    agentWasThere: true,
    agentOverdue: false,
    problem: without("assistant", call.problem),
  };
}

function without(kind: Problem["kind"], problem: Problem | null): Problem | null {
  return problem?.kind === kind ? null : problem;
}

function isAgentState(state: string): state is AgentState {
  return ["initializing", "idle", "listening", "thinking", "speaking"].includes(state);
}

/** The state as the page shows it. */
export type ShownState =
  | "ready"
  | "connecting"
  | "waiting"
  | "listening"
  | "muted"
  | "reading"
  | "thinking"
  | "speaking"
  | "reconnecting"
  | "ended";

export function shownState(call: Call): ShownState {
  switch (call.stage) {
    case "microphone":
      return "connecting";
    case "connected":
      if (call.agent === null || call.agent === "initializing") return "waiting";
      if (call.agent !== "idle" && call.agent !== "listening") return call.agent;
      if (!call.microphone) return "reading";
      return call.muted ? "muted" : "listening";
    default:
      return call.stage;
  }
}

export interface StateWords {
  readonly state: string;
  readonly hint: string;
  /** For a screen reader: only that the call begins, pauses or ends, because the turns in between can be heard. */
  readonly announcement: string;
}

export function stateWords(call: Call): StateWords {
  const talking = "Connected to the assistant.";
  switch (shownState(call)) {
    case "ready":
      return { state: "Ready", hint: "", announcement: "" };
    case "connecting":
      return call.stage === "microphone"
        ? words("Waiting for your microphone", "Allow it when the browser asks, or type your question.")
        : words("Connecting", "One moment.");
    case "waiting":
      if (call.agent === null && call.agentWasThere) return words("The assistant has left", call.agentOverdue ? "Another one is on its way." : "");
      if (call.agentOverdue) return words("All lines are busy", "You will be put through as soon as one is free.");
      return words("Waiting for the assistant", "It should join in a few seconds.");
    case "listening":
      return { state: "Listening", hint: "Ask your question.", announcement: talking };
    case "muted":
      return { state: "Muted", hint: call.canType ? "Unmute to talk, or type." : "Unmute to talk.", announcement: talking };
    case "reading":
      return { state: "Your turn", hint: "Type your question.", announcement: talking };
    case "thinking":
      return { state: "Thinking", hint: "One moment.", announcement: talking };
    case "speaking":
      return { state: "Speaking", hint: speakingHint(call), announcement: talking };
    case "reconnecting":
      return words("Reconnecting", "The connection was interrupted; trying to restore it.");
    case "ended":
      return words("Call ended", call.conversation.length > 0 ? "The conversation stays here until the next call." : "");
  }
}

function speakingHint(call: Call): string {
  if (!call.microphone) return "Type at any time to interrupt.";
  return call.muted ? "Your microphone is muted." : "Talk at any time to interrupt.";
}

function words(state: string, hint: string): StateWords {
  return { state, hint, announcement: `${state}. ${hint}`.trim() };
}
