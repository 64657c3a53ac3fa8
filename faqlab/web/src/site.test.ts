import { expect, test } from "vitest";
import { parseSite } from "./site";

const SITE = { title: "Ask Ada", examples: ["Why?"], gemini: false, server: null, saved: false };

test("what the server says is read", () => {
  expect(parseSite(SITE)).toEqual(SITE);
  expect(parseSite({ ...SITE, server: "calls.example.com", examples: ["Why?", 7] })).toEqual({ ...SITE, server: "calls.example.com" });
});

test.each([null, [], {}, { ...SITE, title: 7 }, { ...SITE, gemini: "no" }, { ...SITE, saved: undefined }])("%j says nothing about privacy, so it isn't used", (value) => {
  expect(parseSite(value)).toBeNull();
});
