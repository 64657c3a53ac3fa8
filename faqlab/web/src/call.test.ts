import { describe, expect, test } from "vitest";
import { type Call, type CallEvent, isUnderWay, NO_CALL, reduceCall, shownState, stateWords } from "./call";
import type { Problem } from "./errors";

const PROBLEM: Problem = { kind: "server", text: "gone" };
const CONNECTED: CallEvent[] = [{ type: "join" }, { type: "microphoneOpened" }, { type: "connected" }];

function after(...events: CallEvent[]): Call {
  return events.reduce(reduceCall, NO_CALL);
}

test("a call goes through every state that the page shows", () => {
  const events: CallEvent[] = [
    ...CONNECTED,
    { type: "agent", state: "initializing" },
    { type: "agent", state: "listening" },
    { type: "agent", state: "thinking" },
    { type: "agent", state: "speaking" },
    { type: "reconnecting" },
    { type: "reconnected" },
    { type: "ended", problem: null },
  ];
  const shown = events.map((_event, index) => shownState(after(...events.slice(0, index + 1))));
  expect(shownState(NO_CALL)).toBe("ready");
  expect(shown).toEqual(["connecting", "connecting", "waiting", "waiting", "listening", "thinking", "speaking", "reconnecting", "speaking", "ended"]);
});

test("the words change from waiting for the microphone to connecting", () => {
  expect(stateWords(after({ type: "join" })).state).toBe("Waiting for your microphone");
  expect(stateWords(after({ type: "join" }, { type: "microphoneOpened" })).state).toBe("Connecting");
});

test("an agent state of another version counts as not ready yet", () => {
  expect(shownState(after(...CONNECTED, { type: "agent", state: "dancing" }))).toBe("waiting");
});

test("a turn changes the words, but not what a screen reader announces", () => {
  const turns = ["listening", "thinking", "speaking"].map((state) => stateWords(after(...CONNECTED, { type: "agent", state })));
  expect(new Set(turns.map((words) => words.state)).size).toBe(3);
  expect(new Set(turns.map((words) => words.announcement)).size).toBe(1);
});

describe("the end", () => {
  test("a call that was never established leads back to the start, with the reason", () => {
    const call = after({ type: "join" }, { type: "ended", problem: PROBLEM });
    expect([shownState(call), call.problem, isUnderWay(call)]).toEqual(["ready", PROBLEM, false]);
  });

  test("an established call that ends keeps its conversation until the next call", () => {
    const said: CallEvent = { type: "said", said: { role: "caller", segmentId: "a", text: "hello", final: true } };
    const ended = after(...CONNECTED, said, { type: "ended", problem: PROBLEM });
    expect([shownState(ended), ended.conversation.length, ended.problem]).toEqual(["ended", 1, PROBLEM]);
    const again = reduceCall(ended, { type: "join" });
    expect([shownState(again), again.conversation.length, again.problem]).toEqual(["connecting", 0, null]);
  });
});

describe("the assistant", () => {
  test("one that never came and one that has left have different words", () => {
    const never = after(...CONNECTED, { type: "agentOverdue" });
    const left = after(...CONNECTED, { type: "agent", state: "listening" }, { type: "agent", state: null }, { type: "agentOverdue" });
    expect(never.problem?.text).toContain("hasn't joined yet");
    expect(left.problem?.text).toContain("has left");
    expect([never, left].map((call) => stateWords(call).state)).toEqual(["No assistant yet", "The assistant has left"]);
  });

  test("when it comes, its problem disappears, but no other one", () => {
    const late = after(...CONNECTED, { type: "agentOverdue" }, { type: "agent", state: "listening" });
    const mute = after(...CONNECTED, { type: "microphoneLost" }, { type: "agent", state: "listening" });
    expect([late.problem, mute.problem?.kind]).toEqual([null, "microphone"]);
  });
});

describe("the microphone", () => {
  test("muted while listening, the state is Muted", () => {
    const call = after(...CONNECTED, { type: "agent", state: "listening" }, { type: "muted", muted: true });
    expect([call.muted, shownState(call), stateWords(call).state]).toEqual([true, "muted", "Muted"]);
  });

  test("muted while the assistant speaks, the hint does not invite to interrupt", () => {
    const call = after(...CONNECTED, { type: "agent", state: "speaking" }, { type: "muted", muted: true });
    expect(stateWords(call)).toMatchObject({ state: "Speaking", hint: "Your microphone is muted." });
  });

  test("lost, it is muted with the reason; unmuted, both are gone", () => {
    const lost = after(...CONNECTED, { type: "microphoneLost" });
    const found = reduceCall(lost, { type: "muted", muted: false });
    expect([lost.muted, lost.problem?.kind, found.muted, found.problem]).toEqual([true, "microphone", false, null]);
  });
});
