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

export interface MicrophoneRequests {
  /**
   * Open the microphone, or wait for the request that the browser still shows.
   *
   * Only who asked last gets it; who asked before, or cancelled, gets null.
   */
  readonly open: () => Promise<Microphone | Problem | null>;
  /** Nobody wants it any more: one that comes is stopped. */
  readonly cancel: () => void;
}

/** One request for the microphone at a time: a second one would open it twice, and nobody would stop the first. */
export function microphoneRequests(request = openMicrophone): MicrophoneRequests {
  let pending: Promise<Microphone | Problem> | null = null;
  let latest = 0;
  let wanted = false;

  return {
    open: async () => {
      const mine = ++latest;
      wanted = true;
      pending ??= request().finally(() => (pending = null));
      const got = await pending;
      if (!wanted && isMicrophone(got)) got.stop();
      return wanted && mine === latest ? got : null;
    },
    cancel: () => {
      wanted = false;
    },
  };
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
