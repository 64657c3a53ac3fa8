import type { CSSProperties } from "react";
import { barPercent, type Hit, type Lookup, outcomeWords } from "../lookup";
import { OutcomeIcon } from "./icons";

/** The FAQs that a question found, likeliest first, and what that decided. */
export function LookupCard({ lookup }: { readonly lookup: Lookup }) {
  const limit = lookup.squared_l2_threshold;
  const times = Object.entries(lookup.milliseconds).map(([stage, time]) => `${stage}\u00a0${time.toFixed(1)}\u00a0ms`);
  return (
    <section className="lookup" data-testid="lookup" data-outcome={lookup.outcome} aria-label={`Look-up: ${outcomeWords(lookup.outcome)}`}>
      <p className="query">
        <b className="outcome">
          <OutcomeIcon outcome={lookup.outcome} />
          {outcomeWords(lookup.outcome)}
        </b>
        <span>
          Looked up <q>{lookup.query}</q>
        </span>
      </p>
      {lookup.choices.length > 0 && <p className="choose">Say which: its number, or words of it.</p>}
      {lookup.hits.length === 0 ? (
        <p className="fine">Nothing was found.</p>
      ) : (
        <>
          <p className="heads" aria-hidden="true">
            <span>Likeliest in the FAQ</span>
            <span>distance (squared L2)</span>
          </p>
          <ol className="hits">
            {lookup.hits.map((hit) => (
              <HitRow key={hit.id} hit={hit} limit={limit} choice={lookup.choices.indexOf(hit.question) + 1} />
            ))}
          </ol>
        </>
      )}
      <p className="fine facts">
        {limit !== null && lookup.hits.length > 0 && (
          <span>
            <i className="mark" aria-hidden="true" /> Farther than {limit.toFixed(2)}, an entry alone is no answer
          </span>
        )}
        {lookup.confidence !== null && <span>{confidenceWords(lookup.confidence, lookup.threshold)}</span>}
        {times.length > 0 && <span>Time: {times.join(", ")}</span>}
      </p>
    </section>
  );
}

interface HitRowProps {
  readonly hit: Hit;
  readonly limit: number | null;
  /** Its number among the choices offered; 0 if it is none of them. */
  readonly choice: number;
}

function HitRow({ hit, limit, choice }: HitRowProps) {
  const beyond = limit !== null && hit.squared_l2 > limit;
  const style: Record<string, string> = { "--far": `${barPercent(hit.squared_l2)}%` };
  if (limit !== null) style["--limit"] = `${barPercent(limit)}%`;
  return (
    <li data-testid="hit" data-hit-id={hit.id} data-beyond={beyond}>
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
        <p>{hit.answer}</p>
      </details>
      <div className="distance">
        <span className="track" style={style as CSSProperties} aria-hidden="true">
          <span className="fill" />
          {limit !== null && <span className="limit" />}
        </span>
        <span className="number">
          <span className="unseen">squared L2 distance </span>
          {hit.squared_l2.toFixed(2)}
          {beyond && <span className="unseen">, beyond the limit</span>}
        </span>
      </div>
    </li>
  );
}

function confidenceWords(confidence: number, threshold: number | null): string {
  const words = `Confidence ${confidence.toFixed(2)}`;
  return threshold === null ? words : `${words}, “I don’t know” below ${threshold.toFixed(2)}`;
}
