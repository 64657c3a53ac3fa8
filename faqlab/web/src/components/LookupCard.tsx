import type { CSSProperties } from "react";
import { barPercent, type Hit, type Lookup, outcomeWords, reasonWords, stageWords } from "../lookup";
import { OutcomeIcon } from "./icons";
import { Written } from "./Written";

/** The FAQ entries found for a question, best first, and the decision. */
export function LookupCard({ lookup }: { readonly lookup: Lookup }) {
  const reason = reasonWords(lookup.reason);
  const calibrated = lookup.reason !== "uncalibrated";
  const times = Object.entries(lookup.milliseconds).map(([stage, time]) => `${stageWords(stage)}\u00a0${time.toFixed(1)}\u00a0ms`);
  return (
    <section className="lookup" data-testid="lookup" data-outcome={lookup.outcome} aria-label={`Look-up: ${outcomeWords(lookup.outcome)}`}>
      <p className="query">
        <b className="outcome">
          <OutcomeIcon outcome={lookup.outcome} />
          {outcomeWords(lookup.outcome)}
        </b>
        <span>
          <q>{lookup.query}</q>
          {reason && `: ${reason}`}
        </span>
      </p>
      {lookup.hits.length === 0 ? (
        <p className="fine">No entry was found.</p>
      ) : (
        <>
          <p className="heads" aria-hidden="true">
            <span>Best entries in the FAQ</span>
            <span>{calibrated && "probability, "}squared L2 distance</span>
          </p>
          <ol className="hits">
            {lookup.hits.map((hit) => (
              <HitRow key={hit.id} hit={hit} probability={calibrated ? hit.score : null} choice={lookup.choices.indexOf(hit.question) + 1} />
            ))}
          </ol>
        </>
      )}
      <p className="fine facts">
        {lookup.confidence !== null && <span>{confidenceWords(lookup.confidence, lookup.threshold, calibrated)}</span>}
        {times.length > 0 && <span>Time: {times.join(", ")}</span>}
      </p>
    </section>
  );
}

interface HitRowProps {
  readonly hit: Hit;
  /** That the entry is right, 0 to 1; null if it isn't known. */
  readonly probability: number | null;
  /** Its number among the choices offered; 0 if it isn't one. */
  readonly choice: number;
}

function HitRow({ hit, probability, choice }: HitRowProps) {
  // What the entries are ranked by, so that the bars are in order.
  const share = probability === null ? barPercent(hit.squared_l2) : 100 * probability;
  const style: Record<string, string> = { "--share": `${share}%` };
  return (
    <li data-testid="hit" data-hit-id={hit.id}>
      <details>
        <summary>
          {choice > 0 && (
            <b className="choice">
              <span className="unseen">Choice </span>
              {choice}
            </b>
          )}
          {hit.question}
        </summary>
        <Written text={hit.answer} links={hit.links ?? []} />
      </details>
      <div className="distance">
        {probability !== null && (
          <span className="number">
            <span className="unseen">probability </span>
            {percent(probability)}
          </span>
        )}
        <span className="track" style={style as CSSProperties} aria-hidden="true">
          <span className="fill" />
        </span>
        <span className="number">
          <span className="unseen">squared L2 distance </span>
          {hit.squared_l2.toFixed(2)}
        </span>
      </div>
    </li>
  );
}

function confidenceWords(confidence: number, threshold: number | null, calibrated: boolean): string {
  if (!calibrated) return `Highest cosine ${confidence.toFixed(2)}`;
  const words = `Probability that the FAQ has the answer: ${percent(confidence)}`;
  return threshold === null ? words : `${words} (no answer below ${percent(threshold)})`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
