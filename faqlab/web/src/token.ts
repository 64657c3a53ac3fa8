/** Ask the server of this page for a token, which is for a new room each time. */

import { TokenError } from "./errors";

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
  if (!response.ok) throw new TokenError(response.status, stringField(body, "detail"));
  const token = stringField(body, "token");
  const url = stringField(body, "url");
  if (token === null || url === null) throw new TokenError(null, null);
  return { token, url };
}

function stringField(body: unknown, name: string): string | null {
  if (typeof body !== "object" || body === null) return null;
  const value = (body as Record<string, unknown>)[name];
  return typeof value === "string" && value.trim() !== "" ? value : null;
}
