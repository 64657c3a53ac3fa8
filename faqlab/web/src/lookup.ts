/** What the agent looked up for an answer: one JSON object a look-up, on the text stream topic `faqlab.lookup`. */

export const LOOKUP_TOPIC = "faqlab.lookup";

export type Outcome = "answer" | "ask_back" | "decline";

export interface Hit {
  readonly rank: number;
  readonly id: string;
  readonly question: string;
  readonly answer: string;
  /** Squared L2 distance of unit vectors, 0 to 4; unrelated texts are near 2. */
  readonly squared_l2: number;
  readonly score: number | null;
}

export interface Lookup {
  readonly id: string;
  /** The question as the agent heard it. */
  readonly query: string;
  readonly outcome: Outcome;
  readonly confidence: number | null;
  /** The confidence below which the agent says that it does not know. */
  readonly threshold: number | null;
  /** How far an entry may be for the same, were it alone. */
  readonly squared_l2_threshold: number | null;
  readonly hits: readonly Hit[];
  /** What the agent offered to choose from when it asked back. */
  readonly choices: readonly string[];
  /** Of each stage, by its name. */
  readonly milliseconds: Readonly<Record<string, number>>;
}

/** The right end of a distance bar: at 2 two texts have nothing to do with each other. */
export const FAR = 2;

const OUTCOME_WORDS: Record<Outcome, string> = {
  answer: "Answered",
  ask_back: "Asked back",
  decline: "Did not know",
};

export function outcomeWords(outcome: Outcome): string {
  return OUTCOME_WORDS[outcome];
}

/** Where a squared L2 distance stands on its bar, in percent of the bar's width. */
export function barPercent(squaredL2: number): number {
  return (Math.min(Math.max(squaredL2, 0), FAR) / FAR) * 100;
}

/**
 * Read one look-up from its JSON.
 *
 * Returns null for anything else: a malformed record must not take the call down with it.
 */
export function parseLookup(json: string): Lookup | null {
  const value = parseObject(json);
  if (value === null || typeof value.query !== "string" || !isOutcome(value.outcome)) return null;
  return {
    id: typeof value.id === "string" ? value.id : crypto.randomUUID(),
    query: value.query,
    outcome: value.outcome,
    confidence: numberOrNull(value.confidence),
    threshold: numberOrNull(value.threshold),
    squared_l2_threshold: numberOrNull(value.squared_l2_threshold),
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isOutcome(value: unknown): value is Outcome {
  return typeof value === "string" && Object.hasOwn(OUTCOME_WORDS, value);
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
