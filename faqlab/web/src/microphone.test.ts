import { beforeEach, expect, test, vi } from "vitest";
import { type Microphone, microphoneRequests } from "./microphone";

/** Microphones that the browser hands out when the caller allows it, and whether they are on. */
let opened: { microphone: Microphone; on: boolean }[];
let allow: () => void;

const request = vi.fn(async (): Promise<Microphone> => {
  await new Promise<void>((resolve) => (allow = resolve));
  const one = { microphone: { mediaStreamTrack: {}, stop: () => (one.on = false) } as unknown as Microphone, on: true };
  opened.push(one);
  return one.microphone;
});

beforeEach(() => {
  opened = [];
  request.mockClear();
});

test("two requests open one microphone, which the later one gets", async () => {
  const microphones = microphoneRequests(request);
  const both = [microphones.open(), microphones.open()];
  allow();
  expect(await Promise.all(both)).toEqual([null, opened[0]?.microphone]);
  expect(opened).toMatchObject([{ on: true }]);
});

test("a microphone that comes when nobody wants it any more is stopped", async () => {
  const microphones = microphoneRequests(request);
  const late = microphones.open();
  microphones.cancel();
  allow();
  expect(await late).toBeNull();
  expect(opened).toMatchObject([{ on: false }]);
});

test("who wants it again before the caller has answered gets that one", async () => {
  const microphones = microphoneRequests(request);
  const first = microphones.open();
  microphones.cancel();
  const again = microphones.open();
  allow();
  expect(await Promise.all([first, again])).toEqual([null, opened[0]?.microphone]);
  expect(opened).toMatchObject([{ on: true }]);
});

test("after one was given, or refused, the browser is asked again", async () => {
  const microphones = microphoneRequests(request);
  const first = microphones.open();
  allow();
  await first;
  microphones.cancel();
  expect(opened).toMatchObject([{ on: true }]);
  const refusal = { kind: "microphone", text: "no" } as const;
  const again = microphones.open();
  allow();
  expect(await again).toBe(opened[1]?.microphone);
  const refused = microphoneRequests(async () => refusal);
  expect([await refused.open(), await refused.open()]).toEqual([refusal, refusal]);
});
