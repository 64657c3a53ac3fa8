import { expect, test } from "vitest";
import { type Arriving, arriving, COUNT_EVERY_MS, count, NO_COUNTS, NOTHING_TO_COUNT, type Received } from "./silence";

/** What still arrives at each sample. */
function sampling(...samples: Received[]): Arriving[] {
  let counts = NO_COUNTS;
  return samples.map((received, index) => {
    counts = count(counts, received, index * COUNT_EVERY_MS);
    return arriving(counts, index * COUNT_EVERY_MS);
  });
}

function during(seconds: number, received: (index: number) => Received): Received[] {
  return Array.from({ length: (seconds * 1_000) / COUNT_EVERY_MS }, (_, index) => received(index));
}

const flowing = (from: number) => (index: number) => ({ server: from + index, assistant: from + index });
const nothing: Received = { server: 9, assistant: 9 };

/** The longest time from the last packet to the report: a packet can come just after a sample. */
function reportedAfter(verdicts: Arriving[], verdict: Arriving): number {
  return (verdicts.indexOf(verdict) + 1) * COUNT_EVERY_MS;
}

test("a server that falls silent is reported within 3 s, and so is its return", () => {
  const silent = sampling(nothing, ...during(10, () => nothing));
  expect(reportedAfter(silent, "nothing")).toBeLessThan(3_000);
  expect(sampling(nothing, ...during(10, () => nothing), { server: 10, assistant: 9 }).at(-1)).toBe("both");
});

test("an assistant that falls silent is reported within 3 s, and so is its return", () => {
  const silent = during(10, (index) => ({ server: index + 1, assistant: 9 }));
  expect(reportedAfter(sampling(...silent), "server only")).toBeLessThan(3_000);
  expect(sampling(...silent, { server: 99, assistant: 10 }).at(-1)).toBe("both");
});

test("when the server returns, the assistant has as long as ever to send", () => {
  const returned = during(1.5, (index) => ({ server: 10 + index, assistant: 9 }));
  expect(sampling(nothing, ...during(10, () => nothing), ...returned).at(-1)).toBe("both");
});

test("gaps of a second are no silence", () => {
  expect(new Set(sampling(...during(10, (index) => flowing(1)(Math.floor(index / 2)))))).toEqual(new Set(["both"]));
});

test("the next assistant is a new voice, and without any there is nothing to miss", () => {
  const silent = during(5, (index) => ({ server: index + 1, assistant: 9 }));
  expect(sampling(...silent, { server: 99, assistant: null }).at(-1)).toBe("both");
  expect(sampling(...silent, { server: 99, assistant: 1 }).at(-1)).toBe("both");
  expect(new Set(sampling(...during(10, () => NOTHING_TO_COUNT)))).toEqual(new Set(["both"]));
});
