import { useLocalParticipant, useTrackVolume, useVoiceAssistant } from "@livekit/components-react";
import type { LocalAudioTrack } from "livekit-client";
import type { ShownState } from "../call";
import { Orb } from "./Orb";

interface LiveOrbProps {
  readonly state: ShownState;
}

/** The orb, following both voices. Separate from Orb, so that only this is redrawn thirty times a second. */
export function LiveOrb({ state }: LiveOrbProps) {
  const { audioTrack } = useVoiceAssistant();
  const { microphoneTrack } = useLocalParticipant();
  const assistant = useTrackVolume(audioTrack);
  const caller = useTrackVolume(microphoneTrack?.track as LocalAudioTrack | undefined);

  const level = state === "speaking" ? assistant : state === "listening" ? caller : 0;
  return <Orb state={state} level={Math.min(level, 1)} />;
}
