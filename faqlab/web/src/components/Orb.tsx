import type { CSSProperties } from "react";
import type { ShownState } from "../call";

interface OrbProps {
  readonly state: ShownState;
  /** Loudness of whoever is speaking, 0 to 1. */
  readonly level: number;
}

/** A sign of life: its colour is the state, its size the voice. The words beside it say the same. */
export function Orb({ state, level }: OrbProps) {
  return <span className="orb" data-state={state} style={{ "--level": level.toFixed(2) } as CSSProperties} aria-hidden="true" />;
}
