import { afterEach, describe, expect, test, vi } from "vitest";
import { TokenError } from "./errors";
import { getToken, retryAfter } from "./token";

afterEach(() => vi.unstubAllGlobals());

async function refusal(response: Response): Promise<unknown> {
  vi.stubGlobal("fetch", async () => response);
  return getToken(new AbortController().signal).catch((error: unknown) => error);
}

test("a refusal carries its status, its sentence and when to ask again", async () => {
  const busy = Response.json({ detail: "Slow down" }, { status: 429, headers: { "Retry-After": "7" } });
  expect(await refusal(busy)).toMatchObject({ status: 429, detail: "Slow down", retryAfter: 7 });
  expect(await refusal(new Response("oops", { status: 503 }))).toMatchObject({ status: 503, detail: null, retryAfter: null });
  const dated = new Response(null, { status: 503, headers: { "Retry-After": "Mon, 30 Nov 2026 00:00:00 GMT" } });
  expect(await refusal(dated)).toMatchObject({ retryAfter: null });
});

describe("asking again", () => {
  test("happens when the server says, twice at most", () => {
    const busy = new TokenError(429, null, 6.2);
    expect([0, 1, 2].map((retries) => retryAfter(busy, retries))).toEqual([7, 7, null]);
    expect(retryAfter(new TokenError(503, null), 0)).toBe(5);
    expect(retryAfter(new TokenError(503, null, 0), 0)).toBe(1);
  });

  test("is no use for other errors, or when the wait is long", () => {
    for (const error of [new TokenError(403, null, 7), new TokenError(null, null), new TypeError("offline"), new TokenError(429, null, 3_600)]) {
      expect(retryAfter(error, 0)).toBeNull();
    }
  });
});
