/** Drawn here, so that the page loads no picture from elsewhere. Each one accompanies words and never replaces them. */

import type { ReactNode } from "react";
import type { Outcome } from "../lookup";

function Icon({ children }: { readonly children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export function MicrophoneIcon({ off }: { readonly off: boolean }) {
  return (
    <Icon>
      <rect x="9" y="3" width="6" height="11" rx="3" />
      <path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" />
      {off && <path d="M4 4l16 16" />}
    </Icon>
  );
}

export function LeaveIcon() {
  return (
    <Icon>
      <path d="M9 20H6a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2h3M9 12h11M16 8l4 4-4 4" />
    </Icon>
  );
}

export function WarningIcon() {
  return (
    <Icon>
      <path d="M12 4 2.8 20h18.4zM12 10v4.5M12 17.2v.3" />
    </Icon>
  );
}

const OUTCOME_PATHS: Record<Outcome, string> = {
  answer: "M5 12.5 10 17.5 19 7",
  clarify: "M8 9a4 4 0 1 1 5.6 3.7c-1.1.5-1.6 1.1-1.6 2.3M12 19v.3",
  decline: "M6 6l12 12M18 6 6 18",
};

export function OutcomeIcon({ outcome }: { readonly outcome: Outcome }) {
  return (
    <Icon>
      <path d={OUTCOME_PATHS[outcome]} />
    </Icon>
  );
}
