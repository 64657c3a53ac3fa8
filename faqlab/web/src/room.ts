/** One call over LiveKit: opens the microphone, joins, and reports what happens as events. Independent of React. */

import {
  createLocalAudioTrack,
  DefaultReconnectPolicy,
  type LocalAudioTrack,
  type Participant,
  Room,
  RoomEvent,
  type RoomOptions,
  type TextStreamReader,
  TrackEvent,
} from "livekit-client";
import type { CallEvent } from "./call";
import { connectionProblem, disconnectProblem, microphoneProblem, pageProblem, tokenProblem, type PageContext, type Problem } from "./errors";
import { LOOKUP_TOPIC, parseLookup } from "./lookup";
import { NOTICE_TOPIC, parseNotice } from "./notice";
import { getToken } from "./token";
import { type Role, TRANSCRIPTION_TOPIC } from "./transcript";

const AGENT_STATE = "lk.agent.state";
const SEGMENT_ID = "lk.segment_id";
const FINAL = "lk.transcription_final";

const TOKEN_WITHIN_MS = 10_000;

const AUDIO_CAPTURE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

const ROOM_OPTIONS: RoomOptions = {
  audioCaptureDefaults: AUDIO_CAPTURE,
  publishDefaults: { audioPreset: { maxBitrate: 96_000 }, dtx: false },
  adaptiveStream: true,
  dynacast: true,
  // About 16 s in all. With livekit-client's own delays it takes 52 s to report that the server is gone.
  reconnectPolicy: new DefaultReconnectPolicy([0, 300, 1200, 2700, 4800, 7000]),
};

type Report = (event: CallEvent) => void;

/** A call; `leave` ends it at any stage, and may be called again. */
export interface OpenCall {
  readonly room: Room;
  readonly setMuted: (muted: boolean) => Promise<void>;
  readonly leave: () => void;
}

/**
 * Start a call. Returns at once; everything else is reported, ending with one "ended" event.
 *
 * The microphone comes first: a person may take minutes to allow it, and until then the token would expire and the assistant would wait.
 */
export function openCall(report: Report): OpenCall {
  const room = new Room(ROOM_OPTIONS);
  const left = new AbortController();
  let microphone: LocalAudioTrack | null = null;
  let muted = false;
  let over = false;

  function end(problem: Problem | null): void {
    if (over) return;
    over = true;
    left.abort();
    microphone?.stop();
    void room.disconnect();
    report({ type: "ended", problem });
  }

  async function join(): Promise<void> {
    const blocked = pageProblem(pageContext());
    if (blocked) return end(blocked);

    try {
      microphone = await createLocalAudioTrack(AUDIO_CAPTURE);
    } catch (error) {
      return end(microphoneProblem(error, pageContext().framed));
    }
    if (over) return microphone.stop();
    watchMicrophone(microphone);
    if (muted) await microphone.mute();
    report({ type: "microphoneOpened" });

    let url: string;
    let token: string;
    try {
      ({ url, token } = await getToken(AbortSignal.any([left.signal, AbortSignal.timeout(TOKEN_WITHIN_MS)])));
    } catch (error) {
      return end(tokenProblem(error));
    }
    if (over) return;

    watchRoom(room, (event) => over || report(event));
    try {
      await room.connect(url, token);
      room.once(RoomEvent.Disconnected, (reason) => end(disconnectProblem(reason)));
      await room.localParticipant.publishTrack(microphone);
    } catch (error) {
      return end(connectionProblem(error, url));
    }
  }

  function watchMicrophone(track: LocalAudioTrack): void {
    // livekit-client switches to the default device when the one in use disappears, and mutes the track when there is none.
    track.on(TrackEvent.Muted, () => !over && !muted && report({ type: "microphoneLost" }));
    track.on(TrackEvent.Unmuted, () => !over && report({ type: "muted", muted: false }));
  }

  async function setMuted(wanted: boolean): Promise<void> {
    muted = wanted;
    try {
      await (wanted ? microphone?.mute() : microphone?.unmute());
      if (!over) report({ type: "muted", muted: wanted });
    } catch {
      if (!over) report({ type: "microphoneLost" });
    }
  }

  report({ type: "join" });
  void join();
  return { room, setMuted, leave: () => end(null) };
}

function watchRoom(room: Room, report: Report): void {
  const reportAgent = (): void => {
    const agent = [...room.remoteParticipants.values()].find((participant) => participant.isAgent);
    report({ type: "agent", state: agent ? (agent.attributes[AGENT_STATE] ?? "initializing") : null });
  };
  room
    .on(RoomEvent.Connected, () => {
      report({ type: "connected" });
      reportAgent();
    })
    .on(RoomEvent.Reconnecting, () => report({ type: "reconnecting" }))
    .on(RoomEvent.SignalReconnecting, () => report({ type: "reconnecting" }))
    .on(RoomEvent.Reconnected, () => {
      report({ type: "reconnected" });
      reportAgent();
    })
    .on(RoomEvent.ParticipantConnected, reportAgent)
    .on(RoomEvent.ParticipantDisconnected, reportAgent)
    .on(RoomEvent.ParticipantAttributesChanged, (_changed: Record<string, string>, participant: Participant) => {
      if (participant.isAgent) reportAgent();
    });

  room.registerTextStreamHandler(TRANSCRIPTION_TOPIC, (reader, sender) => {
    const role: Role = sender.identity === room.localParticipant.identity ? "caller" : "assistant";
    void followSpeech(reader, role, report);
  });
  room.registerTextStreamHandler(LOOKUP_TOPIC, async (reader) => {
    const lookup = parseLookup(await readAll(reader));
    if (lookup) report({ type: "lookup", lookup });
  });
  room.registerTextStreamHandler(NOTICE_TOPIC, async (reader) => {
    const notice = parseNotice(await readAll(reader));
    if (notice) report({ type: "notice", notice });
  });
}

/** The assistant's words arrive in one stream as they are spoken; each correction of the caller's words in a separate stream. */
async function followSpeech(reader: TextStreamReader, role: Role, report: Report): Promise<void> {
  const segmentId = reader.info.attributes?.[SEGMENT_ID] ?? reader.info.id;
  let text = "";
  try {
    for await (const chunk of reader) {
      text += chunk;
      report({ type: "said", said: { role, segmentId, text, final: false } });
    }
  } catch {
    // The sender left in the middle of a sentence: keep what has arrived.
  }
  const final = role === "assistant" || reader.info.attributes?.[FINAL] === "true";
  report({ type: "said", said: { role, segmentId, text, final } });
}

async function readAll(reader: TextStreamReader): Promise<string> {
  try {
    return await reader.readAll();
  } catch {
    return "";
  }
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
