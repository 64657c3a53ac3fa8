import { useTrackVolume, useVoiceAssistant } from "@livekit/components-react";
import type { ShownState } from "../call";
import type { Microphone } from "../microphone";
import { Orb } from "./Orb";

interface LiveOrbProps {
  readonly state: ShownState;
  readonly microphone: Microphone | null;
}

/** The orb, following both voices. Separate from Orb, so that only this is redrawn thirty times a second. */
export function LiveOrb({ state, microphone }: LiveOrbProps) {
  const { audioTrack } = useVoiceAssistant();
  const assistant = useTrackVolume(audioTrack);
  const caller = useTrackVolume(microphone ?? undefined);

  const level = state === "speaking" ? assistant : state === "listening" ? caller : 0;
  return <Orb state={state} level={Math.min(level, 1)} />;
}
