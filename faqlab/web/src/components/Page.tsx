import { type MouseEvent, type ReactNode, useEffect, useRef } from "react";
import { type Call, isUnderWay, shownState, stateWords } from "../call";
import { PAGE } from "../config";
import { LeaveIcon, MicrophoneIcon } from "./icons";
import { ProblemNote } from "./ProblemNote";
import { Transcript } from "./Transcript";

interface PageProps {
  readonly call: Call;
  readonly orb: ReactNode;
  readonly startAudio?: ReactNode;
  readonly onJoin: () => void;
  readonly onLeave: () => void;
  readonly onMute: (muted: boolean) => void;
}

const DOUBLE_CLICK_MS = 500;

/** The whole page, drawn from the call. */
export function Page({ call, orb, startAudio, onJoin, onLeave, onMute }: PageProps) {
  const state = shownState(call);
  const words = stateWords(call);
  const underWay = isUnderWay(call);
  const joinButton = useRef<HTMLButtonElement>(null);
  const muteButton = useRef<HTMLButtonElement>(null);

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

  return (
    <main className="page" data-view={state === "ready" ? "welcome" : "call"}>
      <header className="bar">
        {orb}
        <div className="words">
          <h1>{PAGE.title}</h1>
          {state === "ready" && <p className="intro">{PAGE.intro}</p>}
          <p className="state" data-testid="state" data-state={state}>
            <strong>{words.state}</strong> <span className="hint">{words.hint}</span>
          </p>
        </div>
        <div className="controls">
          {startAudio}
          {underWay ? (
            <>
              <button
                ref={muteButton}
                type="button"
                className="button"
                data-testid="mute"
                aria-pressed={call.muted}
                onClick={once(() => onMute(!call.muted))}
              >
                <MicrophoneIcon off={call.muted} />
                Mute
              </button>
              <button type="button" className="button leave" data-testid="leave" onClick={once(onLeave)}>
                <LeaveIcon />
                Leave
              </button>
            </>
          ) : (
            <button ref={joinButton} type="button" className="button primary" data-testid="join" onClick={once(onJoin)}>
              <MicrophoneIcon off={false} />
              {state === "ended" ? "Join again" : "Join"}
            </button>
          )}
        </div>
      </header>
      <p className="unseen" role="status">
        {words.announcement}
      </p>
      {call.problem && <ProblemNote problem={call.problem} />}
      {state !== "ready" && <Transcript conversation={call.conversation} underWay={underWay} />}
    </main>
  );
}
