import type { MouseEvent, ReactNode, RefObject } from "react";
import { PAGE } from "../config";
import type { Site } from "../site";
import type { Actions } from "../useCall";
import { MicrophoneIcon } from "./icons";

interface WelcomeProps {
  readonly title: string;
  readonly site: Site | null;
  readonly orb: ReactNode;
  readonly problem: ReactNode;
  readonly meter: ReactNode;
  readonly picker: ReactNode;
  readonly joinButton: RefObject<HTMLButtonElement | null>;
  readonly actions: Actions;
  readonly once: (act: () => void) => (event: MouseEvent) => void;
  /** The field for a typed question. */
  readonly children: ReactNode;
}

/** What callers see first: one click joins. */
export function Welcome({ title, site, orb, problem, meter, picker, joinButton, actions, once, children }: WelcomeProps) {
  return (
    <div className="welcome">
      {orb}
      <h1>{title}</h1>
      <p className="intro">{PAGE.intro}</p>
      <button ref={joinButton} type="button" className="button primary" data-testid="join" onClick={once(actions.join)}>
        <MicrophoneIcon off={false} />
        Join
      </button>
      {problem}
      {site !== null && site.examples.length > 0 && (
        <section className="examples" aria-labelledby="try">
          <h2 id="try">For example</h2>
          <ul>
            {site.examples.map((question) => (
              <li key={question}>
                <button type="button" className="chip" data-testid="example" onClick={once(() => actions.ask(question))}>
                  {question}
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
      {children}
      <div className="check">
        {meter ? (
          <>
            <span>Say something: the bar should move.</span>
            {meter}
            {picker}
          </>
        ) : (
          <button type="button" className="quiet" data-testid="check" onClick={actions.checkMicrophone}>
            Check your microphone
          </button>
        )}
      </div>
      {site && <p className="privacy">{PAGE.privacy(site)}</p>}
    </div>
  );
}
