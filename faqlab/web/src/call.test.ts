import { describe, expect, test } from "vitest";
import { type Call, type CallEvent, isUnderWay, NO_CALL, reduceCall, shownState, stateWords } from "./call";
import type { Problem } from "./errors";

const PROBLEM: Problem = { kind: "server", text: "gone" };
const CONNECTED: CallEvent[] = [{ type: "join" }, { type: "microphoneOpened" }, { type: "connected", canType: true }];

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
  const LEFT: CallEvent[] = [...CONNECTED, { type: "agent", state: "listening" }, { type: "agent", state: null }, { type: "agentOverdue" }];

  test("while it doesn't come, all lines are busy, and the caller hears that they will be put through", () => {
    const busy = after(...CONNECTED, { type: "agentOverdue" });
    expect(stateWords(busy)).toEqual({
      state: "All lines are busy",
      hint: "You will be put through as soon as one is free.",
      announcement: "All lines are busy. You will be put through as soon as one is free.",
    });
    expect([shownState(busy), isUnderWay(busy), busy.problem]).toEqual(["waiting", true, null]);
  });

  test("one that has left in a call is announced, and the conversation stays for the next one", () => {
    const said: CallEvent = { type: "said", said: { role: "caller", segmentId: "a", text: "hello", final: true } };
    const left = after(...LEFT, said);
    expect(stateWords(left).announcement).toBe("The assistant has left. Another one is on its way.");
    const back = reduceCall(left, { type: "agent", state: "speaking" });
    expect([shownState(back), back.conversation.length]).toEqual(["speaking", 1]);
    // It may have said goodbye, so that the call will end in a moment.
    expect(stateWords(reduceCall(back, { type: "agent", state: null })).announcement).toBe("The assistant has left.");
  });

  test("after minutes the caller may keep waiting or come later", () => {
    for (const call of [after(...CONNECTED, { type: "agentOverdue" }), after(...LEFT)]) {
      expect(reduceCall(call, { type: "agentMissing" }).problem?.text).toMatch(/keep waiting.*join again later/);
    }
  });

  test("when it comes, its problem disappears, but no other one", () => {
    const late = after(...CONNECTED, { type: "agentMissing" }, { type: "agent", state: "listening" });
    const mute = after(...CONNECTED, { type: "microphoneLost" }, { type: "agent", state: "listening" });
    expect([late.problem, mute.problem?.kind]).toEqual([null, "microphone"]);
  });
});

describe("a lost connection", () => {
  test("in a new room the conversation and the microphone go on, and the assistant is awaited anew", () => {
    const interim: CallEvent = { type: "said", said: { role: "caller", segmentId: "a", text: "how", final: false } };
    const before = after(...CONNECTED, { type: "agent", state: "listening" }, interim, { type: "muted", muted: true }, { type: "reconnecting" });
    const rejoined = reduceCall(before, { type: "connected", canType: true });
    expect(rejoined.conversation).toMatchObject([{ said: { text: "how", final: true } }]);
    expect([rejoined.muted, shownState(rejoined)]).toEqual([true, "waiting"]);
    expect(stateWords(reduceCall(rejoined, { type: "agentOverdue" })).state).toBe("All lines are busy");
  });

  test("where no new room can be joined, the call has ended, and its conversation stays", () => {
    const said: CallEvent = { type: "said", said: { role: "caller", segmentId: "a", text: "hello", final: true } };
    const ended = after(...CONNECTED, said, { type: "reconnecting" }, { type: "ended", problem: PROBLEM });
    expect([shownState(ended), ended.conversation.length, ended.problem]).toEqual(["ended", 1, PROBLEM]);
  });
});

test("a delayed token is a problem until the call is connected", () => {
  const delayed = after({ type: "join" }, { type: "microphoneOpened" }, { type: "delayed", problem: PROBLEM });
  expect([shownState(delayed), isUnderWay(delayed), delayed.problem]).toEqual(["connecting", true, PROBLEM]);
  expect(reduceCall(delayed, { type: "connected", canType: true }).problem).toBeNull();
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

describe("without a microphone", () => {
  const TYPING: CallEvent[] = [{ type: "join" }, { type: "noMicrophone", problem: PROBLEM }, { type: "connected", canType: true }];

  test("the call goes on, and it is the caller's turn to type", () => {
    const call = after(...TYPING, { type: "agent", state: "listening" });
    expect([shownState(call), call.microphone]).toEqual(["reading", false]);
    expect(stateWords(call).hint).toMatch(/type/i);
    expect(stateWords(after(...TYPING, { type: "agent", state: "speaking" })).hint).toMatch(/type/i);
  });

  test("it can be turned on later, which settles its problem", () => {
    const blocked: Problem = { kind: "microphone", text: "blocked" };
    const call = after({ type: "join" }, { type: "noMicrophone", problem: blocked }, { type: "connected", canType: true });
    expect(call.problem).toEqual(blocked);
    const talking = [{ type: "microphoneOpened" }, { type: "agent", state: "listening" }].reduce((one, event) => reduceCall(one, event as CallEvent), call);
    expect([shownState(talking), talking.problem]).toEqual(["listening", null]);
  });

  test("checking it before a call leads nowhere else", () => {
    for (const checked of [after({ type: "microphoneOpened" }), after({ type: "noMicrophone", problem: PROBLEM })]) expect(shownState(checked)).toBe("ready");
  });
});

test("muting while the microphone is awaited holds when it opens", () => {
  expect(after({ type: "join" }, { type: "muted", muted: true }, { type: "microphoneOpened" }).muted).toBe(true);
});

test("reconnecting keeps the conversation, joining does not", () => {
  const said: CallEvent = { type: "said", said: { role: "caller", segmentId: "a", text: "hello", final: false } };
  const ended = after(...CONNECTED, said, { type: "ended", problem: PROBLEM });
  expect(reduceCall(ended, { type: "join", keep: true }).conversation).toMatchObject([{ said: { text: "hello", final: true } }]);
  expect(reduceCall(ended, { type: "join" }).conversation).toEqual([]);
});

test("callers who share a room can't type", () => {
  const call = after({ type: "join" }, { type: "microphoneOpened" }, { type: "connected", canType: false }, { type: "muted", muted: true }, { type: "agent", state: "listening" });
  expect(stateWords(call).hint).not.toMatch(/type/i);
});
