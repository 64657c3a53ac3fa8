import { Fragment, type ReactNode, useEffect, useRef } from "react";
import { type Conversation, type Entry, type Said, type Written as WrittenAnswer, written } from "../transcript";
import type { Actions } from "../useCall";
import { LookupCard } from "./LookupCard";
import { Written } from "./Written";

interface TranscriptProps {
  readonly conversation: Conversation;
  readonly underWay: boolean;
  readonly details: boolean;
  readonly actions: Pick<Actions, "ask" | "rate">;
  readonly canType: boolean;
  /** Whether callers can say if an answer helped: only where that is saved, and they know it. */
  readonly rated: boolean;
}

/** The distance to the end, in pixels, up to which new lines are scrolled into view. */
const READING_ALONG = 80;

export function Transcript({ conversation, underWay, details, actions, canType, rated }: TranscriptProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const readingAlong = useRef(true);

  const typed = conversation.findLast((entry) => entry.kind === "caller" && entry.said.pending);
  useEffect(() => {
    if (typed) readingAlong.current = true; // their own new question
  }, [typed]);
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
          <Row entry={entry} expected={underWay && entry === lastSpoken} details={details} actions={underWay && canType ? actions : null} rated={rated} />
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

interface RowProps {
  readonly entry: Entry;
  /** Whether words are still to come. */
  readonly expected: boolean;
  readonly details: boolean;
  /** Null where the caller can't answer by text. */
  readonly actions: TranscriptProps["actions"] | null;
  readonly rated: boolean;
}

function Row({ entry, expected, details, actions, rated }: RowProps) {
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
          <Line role="caller" final={entry.said.final}>
            <p>{entry.said.text}</p>
          </Line>
        </div>
      );
    case "assistant":
      return (
        <div className="turn">
          <Reply entry={entry} expected={expected} actions={actions} rated={rated} />
          {details && entry.lookups.length > 0 && (
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

/** What the assistant says: an answer as the FAQ has it, choices to tap. */
function Reply({ entry, expected, actions, rated }: Pick<RowProps, "expected" | "actions" | "rated"> & { readonly entry: Extract<Entry, { kind: "assistant" }> }) {
  const { said, lookups, helpful } = entry;
  const answer = written(lookups, said);
  const last = lookups.at(-1);
  const choices = last?.choices ?? [];
  return (
    <Line role={said || answer ? "assistant" : "none"} final={said?.final ?? false}>
      {said && !answer?.instead && <p>{choices.length > 0 ? question(said.text) : said.text}</p>}
      {answer && (answer.instead ? <Written text={answer.answer} links={answer.links} after={answer.after} /> : <Quoted question={last?.hits[0]?.question ?? ""} answer={answer} />)}
      {!said && !answer && <Unsaid expected={expected} />}
      {choices.length > 0 && (
        <ol className="choices" aria-label="Choices">
          {choices.map((choice, index) => (
            <li key={choice}>
              <button type="button" className="chip" data-testid="choice" disabled={!actions} onClick={() => actions?.ask(choice)}>
                <b>{index + 1}</b>
                {choice}
              </button>
            </li>
          ))}
          <li className="say">Tap one, or say or type its number or a few of its words.</li>
        </ol>
      )}
      {rated && last?.outcome === "answer" && said?.final && (actions || helpful !== undefined) && (
        <Rating helpful={helpful} onRate={(yes) => actions?.rate(last.id, yes)} />
      )}
    </Line>
  );
}

/** The clarifying question without the choices, which follow it as buttons. */
function question(text: string): string {
  return /^[^?]*\?/.exec(text)?.[0] ?? text;
}

/** Below an answer in other words. */
function Quoted({ question, answer }: { readonly question: string; readonly answer: WrittenAnswer }) {
  return (
    <blockquote className="quoted">
      <p className="speaker">In the FAQ: {question}</p>
      <Written text={answer.answer} links={answer.links} />
    </blockquote>
  );
}

function Rating({ helpful, onRate }: { readonly helpful: boolean | undefined; readonly onRate: (helpful: boolean) => void }) {
  return (
    <p className="rating">
      {helpful === undefined ? "Did that help?" : "Thank you."}
      {([true, false] as const).map((yes) => (
        <button key={String(yes)} type="button" className="quiet" data-testid={yes ? "helpful" : "unhelpful"} aria-pressed={helpful === yes} onClick={() => onRate(yes)}>
          {yes ? "Yes" : "No"}
        </button>
      ))}
    </p>
  );
}

function Line({ role, final, children }: { readonly role: Said["role"] | "none"; readonly final: boolean; readonly children: ReactNode }) {
  return (
    <div className="line" data-testid={role === "none" ? undefined : "line"} data-role={role} data-final={final}>
      <span className="speaker">{role === "caller" ? "You" : "Assistant"}</span>
      {children}
    </div>
  );
}

function Unsaid({ expected }: { readonly expected: boolean }) {
  return expected ? (
    <p className="dots" aria-hidden="true">
      <i />
      <i />
      <i />
    </p>
  ) : (
    <p className="unsaid">You interrupted before the answer.</p>
  );
}
