/** The microphone: opening it, or saying why that isn't possible. */

import { createLocalAudioTrack, type LocalAudioTrack } from "livekit-client";
import { microphoneProblem, noMicrophoneProblem, type PageContext, type Problem } from "./errors";

const AUDIO_CAPTURE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export type Microphone = LocalAudioTrack;

/** Ask for the microphone, which may take the caller minutes to allow. Returns it, or why there is none. */
export async function openMicrophone(): Promise<Microphone | Problem> {
  const context = pageContext();
  const blocked = noMicrophoneProblem(context);
  if (blocked) return blocked;
  try {
    return await createLocalAudioTrack(AUDIO_CAPTURE);
  } catch (error) {
    return microphoneProblem(error, context.framed);
  }
}

export function isMicrophone(opened: Microphone | Problem | null): opened is Microphone {
  return opened !== null && "mediaStreamTrack" in opened;
}

export function pageContext(): PageContext {
  return {
    secure: window.isSecureContext,
    hasMicrophoneApi: typeof navigator.mediaDevices?.getUserMedia === "function",
    framed: window.self !== window.top,
    frameAllowsMicrophone: frameAllows("microphone"),
    origin: window.location.origin,
  };
}

function frameAllows(feature: string): boolean {
  // Only Chromium answers this; in other browsers getUserMedia fails, which is reported too.
  const policy = (document as { featurePolicy?: { allowsFeature(name: string): boolean } }).featurePolicy;
  return policy?.allowsFeature(feature) ?? true;
}
