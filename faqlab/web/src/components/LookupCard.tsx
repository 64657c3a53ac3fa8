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
        <ol className="hits">
          {lookup.hits.map((hit) => (
            <HitRow key={hit.id} hit={hit} limit={limit} />
          ))}
        </ol>
      )}
      {lookup.choices.length > 0 && <p className="fine">Offered: {lookup.choices.join(" · ")}</p>}
      <p className="fine">
        {lookup.hits.length > 0 && <>Bars: squared L2 distance, 0 to {FAR}, shorter is nearer{limit !== null && <>; the line is the limit, {limit.toFixed(2)}</>}. </>}
        {confidenceWords(lookup)}
        {timeWords(lookup)}
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

function confidenceWords({ confidence, threshold }: Lookup): string {
  if (confidence === null) return "";
  return threshold === null ? `Confidence ${confidence.toFixed(2)}. ` : `Confidence ${confidence.toFixed(2)}, answers from ${threshold.toFixed(2)}. `;
}

function timeWords({ milliseconds }: Lookup): string {
  const stages = Object.entries(milliseconds);
  if (stages.length === 0) return "";
  return `Took ${stages.map(([stage, time]) => `${time.toFixed(1)} ms to ${stage}`).join(", ")}.`;
}
