/** What the server of this page says of its FAQ, and of who receives what callers say. */

import { isObject } from "./lookup";

export interface Site {
  readonly title: string;
  /** Questions of the FAQ, to try. */
  readonly examples: readonly string[];
  /** Whether Gemini answers. */
  readonly gemini: boolean;
  /** The host that carries the calls; null if it is the operator's own machine. */
  readonly server: string | null;
  /** Whether questions are saved. */
  readonly saved: boolean;
}

const WITHIN_MS = 3_000;

/** Returns null if the server says nothing usable in time; the page then does without. */
export async function getSite(): Promise<Site | null> {
  try {
    const response = await fetch("config", { signal: AbortSignal.timeout(WITHIN_MS), cache: "no-store" });
    return response.ok ? parseSite(await response.json()) : null;
  } catch {
    return null;
  }
}

export function parseSite(value: unknown): Site | null {
  if (!isObject(value) || typeof value.title !== "string" || typeof value.gemini !== "boolean" || typeof value.saved !== "boolean") return null;
  return {
    title: value.title,
    examples: Array.isArray(value.examples) ? value.examples.filter((one) => typeof one === "string") : [],
    gemini: value.gemini,
    server: typeof value.server === "string" ? value.server : null,
    saved: value.saved,
  };
}
