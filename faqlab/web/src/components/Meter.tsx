import { useTrackVolume } from "@livekit/components-react";
import type { CSSProperties } from "react";
import type { Microphone } from "../microphone";

/** How loud the microphone is. Normal speech fills about half of it. */
export function Meter({ microphone }: { readonly microphone: Microphone }) {
  return <MeterBar level={useTrackVolume(microphone) * 2.5} />;
}

export function MeterBar({ level }: { readonly level: number }) {
  return (
    <span className="meter" data-testid="meter" style={{ "--level": Math.min(level, 1).toFixed(2) } as CSSProperties} aria-hidden="true">
      <i />
    </span>
  );
}
