import { type MouseEvent, type ReactNode, useEffect, useRef } from "react";
import { type Call, isUnderWay, shownState, stateWords } from "../call";
import type { Site } from "../site";
import type { Actions } from "../useCall";
import { Composer } from "./Composer";
import { Controls } from "./Controls";
import { ProblemNote } from "./ProblemNote";
import { Switches, type Theme } from "./Switches";
import { Transcript } from "./Transcript";
import { Welcome } from "./Welcome";

export interface PageProps {
  readonly call: Call;
  /** Null if the server didn't say. */
  readonly site: Site | null;
  readonly actions: Actions;
  readonly details: boolean;
  readonly onDetails: (on: boolean) => void;
  readonly theme: Theme;
  readonly onTheme: (theme: Theme) => void;
  readonly orb: ReactNode;
  /** How loud the microphone is, and the choice of another; null without one. */
  readonly meter: ReactNode;
  readonly picker: ReactNode;
  readonly startAudio?: ReactNode;
}

const DOUBLE_CLICK_MS = 500;

/** The whole page, drawn from the call. */
export function Page({ call, site, actions, details, onDetails, theme, onTheme, orb, meter, picker, startAudio }: PageProps) {
  const state = shownState(call);
  const words = stateWords(call);
  const underWay = isUnderWay(call);
  const joinButton = useRef<HTMLButtonElement>(null);
  const muteButton = useRef<HTMLButtonElement>(null);
  const field = useRef<HTMLInputElement>(null);

  const before = useRef(underWay);
  const changedAt = useRef(Number.NEGATIVE_INFINITY);

  useEffect(() => {
    if (before.current === underWay) return;
    before.current = underWay;
    changedAt.current = performance.now();
    // The button that was pressed is gone, so the keyboard focus would return to the top of the page.
    // Not on page load, because a notebook that embeds the page may have the focus.
    if (document.activeElement === document.body) (underWay ? muteButton : joinButton).current?.focus();
  }, [underWay]);

  /** Act, but not on the second half of a double click, when another button has taken the place of the first. */
  const once =
    (act: () => void) =>
    ({ detail }: MouseEvent) => {
      if (detail < 2 || performance.now() - changedAt.current > DOUBLE_CLICK_MS) act();
    };

  const title = site?.title ?? "Ask the FAQ";
  const problem = call.problem && <ProblemNote problem={call.problem} details={details} />;
  const switches = <Switches details={details} onDetails={onDetails} theme={theme} onTheme={onTheme} />;
  const composer = call.canType && (
    <Composer field={field} label={state === "ready" ? "Or type your question" : "Type your question"} onAsk={actions.ask} />
  );

  if (state === "ready") {
    return (
      <main className="page" data-view="welcome">
        {switches}
        <Welcome title={title} site={site} orb={orb} problem={problem} meter={meter} picker={picker} joinButton={joinButton} actions={actions} once={once}>
          {composer}
        </Welcome>
        <p className="unseen" data-testid="state" data-state={state}>
          {words.state}
        </p>
      </main>
    );
  }
  return (
    <main className="page" data-view="call" data-details={details}>
      <header className="bar">
        {orb}
        <div className="words">
          <h1>{title}</h1>
          <p className="state" data-testid="state" data-state={state}>
            <strong>{words.state}</strong> <span className="hint">{words.hint}</span>
          </p>
        </div>
        {switches}
      </header>
      <p className="unseen" role="status">
        {words.announcement}
      </p>
      {problem}
      <Transcript conversation={call.conversation} underWay={underWay} details={details} actions={actions} canType={call.canType} rated={site?.saved ?? false} />
      <footer className="dock">
        {composer}
        <Controls call={call} actions={actions} meter={meter} picker={picker} startAudio={startAudio} muteButton={muteButton} joinButton={joinButton} once={once} />
      </footer>
    </main>
  );
}
