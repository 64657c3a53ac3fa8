/** Ask the server of this page for a token, which is for a new room each time. */

import { TokenError } from "./errors";

const MOST_RETRIES = 2;
const LONGEST_WAIT_SECONDS = 120;
const USUAL_WAIT_SECONDS = 5;

export interface Token {
  readonly token: string;
  /** Where the LiveKit server is: `ws://…` or `wss://…`. */
  readonly url: string;
}

/**
 * Returns a fresh token.
 *
 * Raises TokenError when the server answers without one, and whatever `fetch` raises when it does not answer.
 */
export async function getToken(signal: AbortSignal): Promise<Token> {
  // Relative: the page may be served under a prefix.
  const response = await fetch("getToken", { signal, cache: "no-store", headers: { Accept: "application/json" } });
  const body: unknown = await response.json().catch(() => null);
  // In seconds; the header could also be a date, which this server doesn't send.
  const after = Number(response.headers.get("Retry-After") ?? Number.NaN);
  if (!response.ok) throw new TokenError(response.status, stringField(body, "detail"), Number.isFinite(after) ? after : null);
  const token = stringField(body, "token");
  const url = stringField(body, "url");
  if (token === null || url === null) throw new TokenError(null, null);
  return { token, url };
}

/** After how many seconds to ask again, having asked again *retries* times; null if that is no use. */
export function retryAfter(error: unknown, retries: number): number | null {
  if (!(error instanceof TokenError) || (error.status !== 429 && error.status !== 503) || retries >= MOST_RETRIES) return null;
  const seconds = Math.max(1, Math.ceil(error.retryAfter ?? USUAL_WAIT_SECONDS));
  return seconds <= LONGEST_WAIT_SECONDS ? seconds : null;
}

function stringField(body: unknown, name: string): string | null {
  if (typeof body !== "object" || body === null) return null;
  const value = (body as Record<string, unknown>)[name];
  return typeof value === "string" && value.trim() !== "" ? value : null;
}
