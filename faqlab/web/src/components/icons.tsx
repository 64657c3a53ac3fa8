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

/** A receiver that is put down. */
export function LeaveIcon() {
  return (
    <Icon>
      <path d="M3 14.5c0-1 .2-2 .9-2.7 2-2 4.9-3.1 8.1-3.1s6.1 1.1 8.1 3.1c.7.7.9 1.7.9 2.7v1.4a.8.8 0 0 1-.9.8l-3.5-.6a.9.9 0 0 1-.7-.9v-2.2a12.5 12.5 0 0 0-7.8 0v2.2c0 .4-.3.8-.7.9l-3.5.6a.8.8 0 0 1-.9-.8z" />
    </Icon>
  );
}

export function SendIcon() {
  return (
    <Icon>
      <path d="M4 12h14M12.5 6l6 6-6 6" />
    </Icon>
  );
}

export function ReconnectIcon() {
  return (
    <Icon>
      <path d="M20 11a8 8 0 0 0-14.3-4L4 8.8M4 4v5h5M4 13a8 8 0 0 0 14.3 4l1.7-1.8M20 20v-5h-5" />
    </Icon>
  );
}

export function DetailsIcon() {
  return (
    <Icon>
      <path d="M5 20v-7M12 20V5M19 20v-11" />
    </Icon>
  );
}

const THEME_PATHS: Record<"system" | "light" | "dark", ReactNode> = {
  system: (
    <>
      <circle cx="12" cy="12" r="8" />
      <path d="M12 4v16M12 4a8 8 0 0 1 0 16z" fill="currentColor" />
    </>
  ),
  light: (
    <>
      <circle cx="12" cy="12" r="4" />
      <path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4" />
    </>
  ),
  dark: <path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z" />,
};

export function ThemeIcon({ theme }: { readonly theme: "system" | "light" | "dark" }) {
  return <Icon>{THEME_PATHS[theme]}</Icon>;
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
