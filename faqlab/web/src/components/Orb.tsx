import type { CSSProperties } from "react";
import type { ShownState } from "../call";

interface OrbProps {
  readonly state: ShownState;
  /** Loudness of the person or assistant speaking, 0 to 1. */
  readonly level: number;
}

/** Shows the state by its colour and the voice by its size. The words next to it say the same. */
export function Orb({ state, level }: OrbProps) {
  return <span className="orb" data-state={state} style={{ "--level": level.toFixed(2) } as CSSProperties} aria-hidden="true" />;
}
