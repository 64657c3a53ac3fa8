import { Fragment, useEffect, useRef } from "react";
import type { Conversation, Entry, Said } from "../transcript";
import { LookupCard } from "./LookupCard";

interface TranscriptProps {
  readonly conversation: Conversation;
  readonly underWay: boolean;
}

/** The distance to the end, in pixels, up to which new lines are scrolled into view. */
const READING_ALONG = 80;

export function Transcript({ conversation, underWay }: TranscriptProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const readingAlong = useRef(true);

  useEffect(() => {
    const element = scroller.current;
    if (element && readingAlong.current) element.scrollTop = element.scrollHeight;
  }, [conversation]);

  const lastSpoken = conversation.findLast((entry) => entry.kind !== "notice");
  return (
    <div
      ref={scroller}
      className="transcript"
      data-testid="transcript"
      role="log"
      aria-label="Conversation"
      // A log announces what is added to it, which would talk over the assistant and into the microphone.
      aria-live="off"
      tabIndex={0}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        readingAlong.current = scrollHeight - scrollTop - clientHeight < READING_ALONG;
      }}
    >
      {conversation.length === 0 && <p className="empty">The conversation will appear here.</p>}
      {conversation.map((entry, index) => (
        <Fragment key={keyOf(entry, index)}>
          <Row entry={entry} expected={underWay && entry === lastSpoken} />
        </Fragment>
      ))}
    </div>
  );
}

/** A turn keeps its key from its look-up to its last word, or the answers that the user has opened would close while it is spoken. */
function keyOf(entry: Entry, index: number): string {
  if (entry.kind === "notice") return `notice ${index}`;
  if (entry.kind === "caller") return entry.said.segmentId;
  return entry.lookups[0]?.id ?? entry.said?.segmentId ?? `turn ${index}`;
}

function Row({ entry, expected }: { readonly entry: Entry; readonly expected: boolean }) {
  switch (entry.kind) {
    case "notice":
      return (
        <p className="notice" data-testid="notice" data-level={entry.notice.level}>
          {entry.notice.text}
        </p>
      );
    case "caller":
      return (
        <div className="turn">
          <Line said={entry.said} />
        </div>
      );
    case "assistant":
      return (
        <div className="turn" data-lookups={entry.lookups.length}>
          {entry.said ? <Line said={entry.said} /> : <Unsaid expected={expected} />}
          {entry.lookups.length > 0 && (
            <div className="lookups">
              {entry.lookups.map((lookup) => (
                <LookupCard key={lookup.id} lookup={lookup} />
              ))}
            </div>
          )}
        </div>
      );
  }
}

function Line({ said }: { readonly said: Said }) {
  return (
    <div className="line" data-testid="line" data-role={said.role} data-final={said.final}>
      <span className="speaker">{said.role === "caller" ? "You" : "Assistant"}</span>
      <p>{said.text}</p>
    </div>
  );
}

function Unsaid({ expected }: { readonly expected: boolean }) {
  return (
    <div className="line unsaid" data-role="none">
      <span className="speaker">Assistant</span>
      <p>
        {expected ? (
          <span className="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        ) : (
          "You interrupted before the answer."
        )}
      </p>
    </div>
  );
}
