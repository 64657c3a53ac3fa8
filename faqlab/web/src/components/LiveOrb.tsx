import { useLocalParticipant, useTrackVolume, useVoiceAssistant } from "@livekit/components-react";
import type { LocalAudioTrack } from "livekit-client";
import type { ShownState } from "../call";
import { Orb } from "./Orb";

interface LiveOrbProps {
  readonly state: ShownState;
  readonly muted: boolean;
}

/** The orb moved by the call's two voices. Apart from Orb, so that only this one is drawn again thirty times a second. */
export function LiveOrb({ state, muted }: LiveOrbProps) {
  const { audioTrack } = useVoiceAssistant();
  const { microphoneTrack } = useLocalParticipant();
  const assistant = useTrackVolume(audioTrack);
  const caller = useTrackVolume(microphoneTrack?.track as LocalAudioTrack | undefined);

  const level = state === "speaking" ? assistant : state === "listening" && !muted ? caller : 0;
  return <Orb state={state} level={Math.min(level, 1)} />;
}
