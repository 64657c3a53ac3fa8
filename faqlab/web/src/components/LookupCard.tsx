import type { CSSProperties } from "react";
import { barPercent, FAR, type Hit, type Lookup, outcomeWords } from "../lookup";

/** The FAQs that a question found, nearest first, and what that decided. */
export function LookupCard({ lookup }: { readonly lookup: Lookup }) {
  const limit = lookup.squared_l2_threshold;
  return (
    <section className="lookup" data-testid="lookup" data-outcome={lookup.outcome} aria-label={`Look-up: ${outcomeWords(lookup.outcome)}`}>
      <p className="query">
        <span>
          Looked up <q>{lookup.query}</q>
        </span>
        <b className="outcome">{outcomeWords(lookup.outcome)}</b>
      </p>
      {lookup.hits.length === 0 ? (
        <p className="fine">Nothing was found.</p>
      ) : (
        <>
          <p className="scale" aria-hidden="true">
            squared L2, 0 to {FAR}
          </p>
          <ol className="hits">
            {lookup.hits.map((hit) => (
              <HitRow key={hit.id} hit={hit} limit={limit} />
            ))}
          </ol>
        </>
      )}
      {lookup.choices.length > 0 && <p className="fine">Offered: {lookup.choices.join(" · ")}</p>}
      <p className="fine facts">
        {limit !== null && lookup.hits.length > 0 && (
          <span>
            <i className="mark" aria-hidden="true" /> Alone, an entry counts up to {limit.toFixed(2)}
          </span>
        )}
        {lookup.confidence !== null && <span>{confidenceWords(lookup.confidence, lookup.threshold)}</span>}
        {Object.entries(lookup.milliseconds).map(([stage, time]) => (
          <span key={stage}>
            {stage} {time.toFixed(1)} ms
          </span>
        ))}
      </p>
    </section>
  );
}

function HitRow({ hit, limit }: { readonly hit: Hit; readonly limit: number | null }) {
  const beyond = limit !== null && hit.squared_l2 > limit;
  const style: Record<string, string> = { "--far": `${barPercent(hit.squared_l2)}%` };
  if (limit !== null) style["--limit"] = `${barPercent(limit)}%`;
  return (
    <li data-testid="hit" data-hit-id={hit.id} data-beyond={beyond}>
      <details>
        <summary>{hit.question}</summary>
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
