/**
 * Whether anything still arrives from the server and the assistant.
 *
 * Something always arrives from the server, at least reports on the microphone's packets, and from the assistant its sound, silence included.
 * livekit-client notices a server that has stopped answering only after 15 s, and an assistant whose process was killed only when the server does.
 */

/** Bytes received up to now; null while there is nothing to count. */
export interface Received {
  readonly server: number | null;
  readonly assistant: number | null;
}

/** Each count, and when it last changed. */
export interface Counts {
  readonly server: Count | null;
  readonly assistant: Count | null;
}

interface Count {
  readonly bytes: number;
  readonly since: number;
}

/** What still arrives. */
export type Arriving = "both" | "server only" | "nothing";

export const NOTHING_TO_COUNT: Received = { server: null, assistant: null };
export const NO_COUNTS: Counts = { server: null, assistant: null };

/** Often enough that silence is reported within 3 s. */
export const COUNT_EVERY_MS = 500;
const SILENT_MS = 1_800;

export function count(before: Counts, received: Received, now: number): Counts {
  const server = recount(before.server, received.server, now);
  // The silence of an assistant behind a silent server says nothing, so it is counted from the server's return.
  return { server, assistant: recount(isSilent(server, now) ? null : before.assistant, received.assistant, now) };
}

export function arriving({ server, assistant }: Counts, now: number): Arriving {
  if (isSilent(server, now)) return "nothing";
  return isSilent(assistant, now) ? "server only" : "both";
}

function recount(before: Count | null, bytes: number | null, now: number): Count | null {
  if (bytes === null) return null;
  return bytes === before?.bytes ? before : { bytes, since: now };
}

function isSilent(count: Count | null, now: number): boolean {
  return count !== null && now - count.since >= SILENT_MS;
}
