import { expect, test } from "vitest";
import { Questions } from "./questions";
import type { Said } from "./transcript";

const typed = (text: string): Said => ({ role: "caller", segmentId: text, text, final: false, pending: true });
const reply = (segmentId: string) => ({ type: "said", said: { role: "assistant", segmentId, text: "Yes", final: false } }) as const;
const agent = (state: string) => ({ type: "agent", state }) as const;

function withTwo(): Questions {
  const questions = new Questions();
  questions.add(typed("one"));
  questions.add(typed("two"));
  expect(questions.next()?.text).toBe("one");
  expect(questions.next()).toBeNull();
  return questions;
}

test("of two questions at once the second is sent after the reply to the first", () => {
  const questions = withTwo();
  for (const event of [agent("listening"), agent("thinking"), reply("a"), agent("speaking")]) {
    questions.observe(event);
    expect(questions.next()).toBeNull();
  }
  questions.observe(agent("listening"));
  expect(questions.next()?.text).toBe("two");
});

test("the rest of a greeting is no reply", () => {
  const questions = new Questions();
  questions.observe(reply("greeting"));
  questions.add(typed("one"));
  questions.add(typed("two"));
  questions.next();
  questions.observe(reply("greeting"));
  questions.observe(agent("listening"));
  expect(questions.next()).toBeNull();
});

test("a question that is typed while a reply is spoken interrupts it", () => {
  const questions = new Questions();
  questions.add(typed("one"));
  questions.next();
  questions.observe(reply("a"));
  questions.add(typed("two"));
  expect(questions.next()?.text).toBe("two");
});

test("where no reply comes, or another room is joined, the next question is sent", () => {
  const questions = withTwo();
  questions.giveUp(typed("another"));
  expect(questions.next()).toBeNull();
  questions.giveUp(typed("one"));
  expect(questions.next()?.text).toBe("two");
  const others = withTwo();
  others.observe({ type: "connected", canType: true });
  expect(others.next()?.text).toBe("two");
});

test("a question that could not be sent is the next one", () => {
  const questions = withTwo();
  questions.putBack(typed("one"));
  expect(questions.next()?.text).toBe("one");
});
