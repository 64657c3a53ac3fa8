/** What the agent looked up: one JSON object per look-up, on the text stream topic `faqlab.lookup`. */

import { type Link, linksIn } from "./links";

export const LOOKUP_TOPIC = "faqlab.lookup";

export type Outcome = "answer" | "clarify" | "decline";

export interface Hit {
  readonly rank: number;
  readonly id: string;
  readonly question: string;
  /** Plain text, the same that is spoken. */
  readonly answer: string;
  /** Which words of the answer are links in the FAQ. */
  readonly links?: readonly Link[];
  /** Squared L2 distance of unit vectors, 0 to 4; unrelated texts are near 2. */
  readonly squared_l2: number;
  /** The probability that the entry is right; not a probability if `reason` is "uncalibrated". */
  readonly score: number | null;
}

export interface Lookup {
  readonly id: string;
  /** The transcript of the question. */
  readonly query: string;
  readonly outcome: Outcome;
  /** Why: a value of `faqlab.decision.Reason`; null from an agent of another version. */
  readonly reason: string | null;
  /** The probability that the FAQ has the answer; a cosine if `reason` is "uncalibrated". */
  readonly confidence: number | null;
  /** The confidence below which the agent declines; null if it never does. */
  readonly threshold: number | null;
  readonly hits: readonly Hit[];
  /** The questions that the agent offered in a clarifying question. */
  readonly choices: readonly string[];
  /** Time spent in each stage, by its name. */
  readonly milliseconds: Readonly<Record<string, number>>;
}

/** The right end of a distance bar: at 2, two texts are unrelated. */
export const FAR = 2;

const OUTCOME_WORDS: Record<Outcome, string> = {
  answer: "Answered",
  clarify: "Clarifying question",
  decline: "No answer",
};

export function outcomeWords(outcome: Outcome): string {
  return OUTCOME_WORDS[outcome];
}

const REASON_WORDS: Readonly<Record<string, string>> = {
  uncalibrated: "no thresholds are set, so every question is answered",
  confident: "one entry clearly fits",
  chosen: "the caller chose it",
  two_questions: "two questions were asked at once",
  ambiguous: "it isn't clear which entry is meant",
  no_choice: "it isn't clear which choice is meant",
  below_threshold: "no entry fits well enough",
  unresolved: "no entry says how to reach a person",
  no_words: "no words were understood",
  rejected: "the caller wanted none of the choices",
};

/** Why, in words; "" for a reason that this page doesn't know. */
export function reasonWords(reason: string | null): string {
  return reason !== null && Object.hasOwn(REASON_WORDS, reason) ? (REASON_WORDS[reason] ?? "") : "";
}

const STAGE_WORDS: Readonly<Record<string, string>> = {
  transcript: "transcript",
  turn: "start of look-up",
  embed: "embedding",
  search: "search",
};

/** A stage of `Lookup.milliseconds`, in words. */
export function stageWords(stage: string): string {
  return Object.hasOwn(STAGE_WORDS, stage) ? (STAGE_WORDS[stage] ?? stage) : stage;
}

/** The length of the bar for a squared L2 distance, in percent of the full width. */
export function barPercent(squaredL2: number): number {
  return (Math.min(Math.max(squaredL2, 0), FAR) / FAR) * 100;
}

/**
 * Read one look-up from its JSON.
 *
 * Returns null for anything else: a malformed record must not end the call.
 */
export function parseLookup(json: string): Lookup | null {
  const value = parseObject(json);
  if (value === null || typeof value.query !== "string" || !isOutcome(value.outcome)) return null;
  return {
    id: typeof value.id === "string" ? value.id : crypto.randomUUID(),
    query: value.query,
    outcome: value.outcome,
    reason: typeof value.reason === "string" ? value.reason : null,
    confidence: numberOrNull(value.confidence),
    threshold: numberOrNull(value.threshold),
    hits: Array.isArray(value.hits) ? value.hits.flatMap(parseHit) : [],
    choices: Array.isArray(value.choices) ? value.choices.filter((choice) => typeof choice === "string") : [],
    milliseconds: Object.fromEntries(
      Object.entries(isObject(value.milliseconds) ? value.milliseconds : {}).filter(
        (stage): stage is [string, number] => typeof stage[1] === "number",
      ),
    ),
  };
}

function parseHit(value: unknown, index: number): Hit[] {
  if (!isObject(value) || typeof value.question !== "string" || typeof value.squared_l2 !== "number") return [];
  return [
    {
      rank: typeof value.rank === "number" ? value.rank : index + 1,
      id: typeof value.id === "string" ? value.id : String(index),
      question: value.question,
      answer: typeof value.answer === "string" ? value.answer : "",
      links: typeof value.source === "string" ? linksIn(value.source) : [],
      squared_l2: value.squared_l2,
      score: numberOrNull(value.score),
    },
  ];
}

export function parseObject(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isOutcome(value: unknown): value is Outcome {
  return typeof value === "string" && Object.hasOwn(OUTCOME_WORDS, value);
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
