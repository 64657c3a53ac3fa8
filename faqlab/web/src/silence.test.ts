import { expect, test } from "vitest";
import { type Heard, heard, LISTEN_EVERY_MS, listen, NOT_HEARING, NOTHING_RECEIVED, type Received } from "./silence";

/** What is heard at each sample. */
function listening(...samples: Received[]): Heard[] {
  let hearing = NOT_HEARING;
  return samples.map((received, index) => {
    hearing = listen(hearing, received, index * LISTEN_EVERY_MS);
    return heard(hearing, index * LISTEN_EVERY_MS);
  });
}

function during(seconds: number, received: (index: number) => Received): Received[] {
  return Array.from({ length: (seconds * 1_000) / LISTEN_EVERY_MS }, (_, index) => received(index));
}

const flowing = (from: number) => (index: number) => ({ server: from + index, assistant: from + index });
const nothing: Received = { server: 9, assistant: 9 };

/** The longest time from the last packet to the report: a packet can come just after a sample. */
function reportedAfter(verdicts: Heard[], verdict: Heard): number {
  return (verdicts.indexOf(verdict) + 1) * LISTEN_EVERY_MS;
}

test("a server that falls silent is reported within 3 s, and so is its return", () => {
  const silent = listening(nothing, ...during(10, () => nothing));
  expect(reportedAfter(silent, "nothing")).toBeLessThan(3_000);
  expect(listening(nothing, ...during(10, () => nothing), { server: 10, assistant: 9 }).at(-1)).toBe("both");
});

test("an assistant that falls silent is reported within 3 s, and so is its return", () => {
  const silent = during(10, (index) => ({ server: index + 1, assistant: 9 }));
  expect(reportedAfter(listening(...silent), "assistant silent")).toBeLessThan(3_000);
  expect(listening(...silent, { server: 99, assistant: 10 }).at(-1)).toBe("both");
});

test("when the server returns, the assistant has as long as ever to be heard", () => {
  const returned = during(1.5, (index) => ({ server: 10 + index, assistant: 9 }));
  expect(listening(nothing, ...during(10, () => nothing), ...returned).at(-1)).toBe("both");
});

test("gaps of a second are no silence", () => {
  expect(new Set(listening(...during(10, (index) => flowing(1)(Math.floor(index / 2)))))).toEqual(new Set(["both"]));
});

test("the next assistant is a new voice, and without any there is nothing to miss", () => {
  const silent = during(5, (index) => ({ server: index + 1, assistant: 9 }));
  expect(listening(...silent, { server: 99, assistant: null }).at(-1)).toBe("both");
  expect(listening(...silent, { server: 99, assistant: 1 }).at(-1)).toBe("both");
  expect(new Set(listening(...during(10, () => NOTHING_RECEIVED)))).toEqual(new Set(["both"]));
});
