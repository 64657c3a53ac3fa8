/**
 * The conversation as the page shows it: what each side said, in order, and with each answer what was looked up for it.
 *
 * Pure functions: each returns a new conversation, or the same one if nothing changed.
 */

import type { Link } from "./links";
import type { Lookup } from "./lookup";
import type { Notice } from "./notice";

export const TRANSCRIPTION_TOPIC = "lk.transcription";

export type Role = "caller" | "assistant";

/** One state of one segment of speech. Later states of the same segment replace earlier ones. */
export interface Said {
  readonly role: Role;
  readonly segmentId: string;
  readonly text: string;
  readonly final: boolean;
  /** Typed, and yet to be sent. */
  readonly pending?: boolean;
}

export type Entry =
  | { readonly kind: "caller"; readonly said: Said }
  /** `said` is null from the look-up until the first word of the answer, and stays null if the caller interrupts before it. */
  | { readonly kind: "assistant"; readonly said: Said | null; readonly lookups: readonly Lookup[]; readonly helpful?: boolean }
  | { readonly kind: "notice"; readonly notice: Notice };

export type Conversation = readonly Entry[];

/** Add what was said: more words, corrected words, or a new line. */
export function addSaid(conversation: Conversation, said: Said): Conversation {
  const known = conversation.findIndex((entry) => saidOf(entry)?.segmentId === said.segmentId);
  if (known >= 0) return correct(conversation, known, said);
  if (said.text.trim() === "") return conversation;
  if (said.pending) return [...conversation, { kind: "caller", said }];
  return beforePending(conversation, (before) => (said.role === "caller" ? addCaller(before, said) : addAssistant(before, said)));
}

/** Add a look-up: it belongs to the answer that follows. */
export function addLookup(conversation: Conversation, lookup: Lookup): Conversation {
  return beforePending(conversation, (before) => addLookupAtEnd(before, lookup));
}

function addLookupAtEnd(conversation: Conversation, lookup: Lookup): Conversation {
  const last = lastSpoken(conversation);
  const entry = conversation[last];
  if (entry?.kind === "assistant" && entry.said === null) {
    return conversation.with(last, { ...entry, lookups: [...entry.lookups, lookup] });
  }
  return [...conversation, { kind: "assistant", said: null, lookups: [lookup] }];
}

/** The caller says whether the answer with the look-up *id* helped. */
export function rate(conversation: Conversation, id: string, helpful: boolean): Conversation {
  return conversation.map((entry) => (entry.kind === "assistant" && entry.lookups.some((one) => one.id === id) ? { ...entry, helpful } : entry));
}

/** The answer of an entry as the FAQ has it. */
export interface Written {
  readonly answer: string;
  readonly links: readonly Link[];
  /** Whether to read it instead of what was spoken, rather than below that. */
  readonly instead: boolean;
  /** What was spoken after it, such as "Shall I go on?". */
  readonly after: string;
}

/**
 * The answer to read for what was spoken; null if it isn't that of one entry.
 *
 * The voice may stop in the middle and offer to go on, or be interrupted; Gemini puts the answer into its own words.
 */
export function written(lookups: readonly Lookup[], said: Said | null): Written | null {
  const last = lookups.at(-1);
  const hit = last?.hits[0];
  if (!hit || last.outcome !== "answer" || last.reason === "two_questions" || hit.answer === "") return null;
  const { answer, links = [] } = hit;
  const spoken = said?.text ?? "";
  const lastSentence = spoken.slice(Math.max(0, ...[...spoken.matchAll(/[.!?]\s+/g)].map((end) => end.index + end[0].length)));
  const before = letters(spoken.slice(0, spoken.length - lastSentence.length));
  if (letters(answer).startsWith(letters(spoken))) return { answer, links, instead: true, after: "" };
  const instead = before !== "" && letters(answer).startsWith(before);
  return { answer, links, instead, after: instead ? lastSentence : "" };
}

function letters(text: string): string {
  return text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}

export function addNotice(conversation: Conversation, notice: Notice): Conversation {
  return beforePending(conversation, (before) => [...before, { kind: "notice", notice }]);
}

/** The call is over, or in another room: mark unfinished lines as final, those yet to be sent only if it is *over*. */
export function close(conversation: Conversation, over: boolean): Conversation {
  return conversation.map((entry) => {
    const said = saidOf(entry);
    return said === null || said.final || (said.pending && !over) ? entry : withSaid(entry, { ...said, final: true, pending: false });
  });
}

/** Change the conversation but for the questions at its end that are yet to be sent, as they come after what they wait for. */
function beforePending(conversation: Conversation, change: (before: Conversation) => Conversation): Conversation {
  const end = conversation.findLastIndex((entry) => !saidOf(entry)?.pending) + 1;
  return [...change(conversation.slice(0, end)), ...conversation.slice(end)];
}

function correct(conversation: Conversation, index: number, said: Said): Conversation {
  const entry = conversation[index];
  const before = entry && saidOf(entry);
  // An interim text that arrives after the final one must not replace it.
  if (!before || before.role !== said.role || (before.final && !said.final)) return conversation;
  const text = said.text.trim() === "" ? before.text : said.text;
  return conversation.with(index, withSaid(entry, { ...said, text }));
}

function addCaller(conversation: Conversation, said: Said): Conversation {
  const line: Entry = { kind: "caller", said };
  const last = lastSpoken(conversation);
  const entry = conversation[last];
  // Gemini sends the transcript of a question after the look-up has begun. A look-up without a question before it belongs to this one.
  if (entry?.kind === "assistant" && entry.lookups.length > 0 && !entry.said?.final) {
    const earlier = conversation.slice(0, last).findLast((one) => one.kind !== "notice");
    if (earlier?.kind !== "caller") return conversation.toSpliced(last, 0, line);
  }
  return [...conversation, line];
}

function addAssistant(conversation: Conversation, said: Said): Conversation {
  const last = lastSpoken(conversation);
  const entry = conversation[last];
  if (entry?.kind === "assistant" && entry.said === null) return conversation.with(last, { ...entry, said });
  return [...conversation, { kind: "assistant", said, lookups: [] }];
}

function lastSpoken(conversation: Conversation): number {
  return conversation.findLastIndex((entry) => entry.kind !== "notice");
}

function saidOf(entry: Entry): Said | null {
  return entry.kind === "notice" ? null : entry.said;
}

function withSaid(entry: Entry, said: Said): Entry {
  return entry.kind === "notice" ? entry : { ...entry, said };
}
