import { expect, test } from "vitest";
import { barPercent, outcomeWords, parseLookup, reasonWords } from "./lookup";
import { parseNotice } from "./notice";

const WIRE = {
  id: "one",
  query: "how long does shipping take",
  outcome: "answer",
  reason: "confident",
  confidence: 0.83,
  threshold: 0.55,
  hits: [{ rank: 1, id: "delivery-time", question: "How long does delivery take?", answer: "Three days.", squared_l2: 0.41, score: 0.8 }],
  choices: [],
  milliseconds: { embed: 5.1, search: 0.2 },
};

test("a look-up is read as it was sent", () => {
  expect(parseLookup(JSON.stringify(WIRE))).toMatchObject(WIRE);
});

test("the links of an answer are those of its text in the FAQ", () => {
  const hit = { ...WIRE.hits[0], answer: "See our page.", source: "See [our page](https://shop.example)." };
  expect(parseLookup(JSON.stringify({ ...WIRE, hits: [hit] }))?.hits[0]).toMatchObject({ answer: hit.answer, links: [{ text: "our page", href: "https://shop.example" }] });
});

test("what a look-up leaves out is read as absent", () => {
  const lookup = parseLookup(JSON.stringify({ id: "two", query: "rain", outcome: "decline" }));
  expect(lookup).toEqual({ ...WIRE, id: "two", query: "rain", outcome: "decline", reason: null, confidence: null, threshold: null, hits: [], milliseconds: {} });
});

test.each(["", "{", "null", "[]", "{}", JSON.stringify({ query: "x", outcome: "toString" })])("%j is no look-up", (json) => {
  expect(parseLookup(json)).toBeNull();
});

test("a hit without a distance is left out, the others stay", () => {
  const lookup = parseLookup(JSON.stringify({ ...WIRE, hits: [{ question: "no distance" }, ...WIRE.hits] }));
  expect(lookup?.hits.map((hit) => hit.id)).toEqual(["delivery-time"]);
});

test("a bar runs from 0 to 2 and stays inside", () => {
  expect([-0.1, 0, 0.5, 2, 3.9].map(barPercent)).toEqual([0, 0, 25, 100, 100]);
});

test("each outcome has its own words", () => {
  expect(new Set([outcomeWords("answer"), outcomeWords("clarify"), outcomeWords("decline")]).size).toBe(3);
});

test("a reason is put into words; one that the page does not know adds none", () => {
  expect(reasonWords("below_threshold")).toBe("no entry fits well enough");
  expect([reasonWords("toString"), reasonWords("new"), reasonWords(null)]).toEqual(["", "", ""]);
});

test("a notice of unknown level is information; an empty one is ignored", () => {
  expect(parseNotice('{"level":"warning","text":"offline"}')).toEqual({ level: "warning", text: "offline" });
  expect(parseNotice('{"level":"panic","text":"offline"}')).toEqual({ level: "info", text: "offline" });
  expect(parseNotice('{"level":"info","text":" "}')).toBeNull();
  expect(parseNotice("offline")).toBeNull();
});
