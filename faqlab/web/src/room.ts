/** One call over LiveKit: opens the microphone, joins, and reports what happens as events. Independent of React. */

import {
  ConnectionState,
  createLocalAudioTrack,
  DefaultReconnectPolicy,
  type DisconnectReason,
  type LocalAudioTrack,
  type Participant,
  type RemoteParticipant,
  Room,
  RoomEvent,
  type RoomOptions,
  type TextStreamReader,
  Track,
  TrackEvent,
} from "livekit-client";
import type { CallEvent } from "./call";
import {
  connectionProblem,
  delayProblem,
  disconnectProblem,
  isLost,
  microphoneProblem,
  type PageContext,
  pageProblem,
  type Problem,
  tokenProblem,
} from "./errors";
import { LOOKUP_TOPIC, parseLookup } from "./lookup";
import { NOTICE_TOPIC, parseNotice } from "./notice";
import { type Heard, heard, LISTEN_EVERY_MS, listen, NOT_HEARING, NOTHING_RECEIVED, type Received } from "./silence";
import { getToken, retryAfter, type Token } from "./token";
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
  // Ours, so that it outlives a lost room.
  stopLocalTrackOnUnpublish: false,
  // About 9 s in all. With livekit-client's own delays it takes 52 s to report that the server is gone.
  reconnectPolicy: new DefaultReconnectPolicy([0, 300, 1200, 2700, 4800]),
};

/** Where livekit-client couldn't return to the room, the page joins a new one: another 7 s. */
const REJOIN_AFTER_MS = [0, 2_000, 5_000];

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
  let joined = false;
  let over = false;

  const tell: Report = (event) => {
    if (!over) report(event);
  };

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

    watchRoom(room, microphone, tell, left.signal);
    room.on(RoomEvent.Disconnected, (reason) => joined && void rejoin(reason));
    const problem = await enter();
    if (problem) end(problem);
  }

  /** Join a new room. Returns why that isn't possible, or null. */
  async function enter(): Promise<Problem | null> {
    let given: Token;
    try {
      given = await tokenInTime();
    } catch (error) {
      return tokenProblem(error);
    }
    if (over || !microphone) return null;

    try {
      await room.connect(given.url, given.token);
      await room.localParticipant.publishTrack(microphone);
      joined = true;
      return null;
    } catch (error) {
      await room.disconnect(false);
      return connectionProblem(error, given.url);
    }
  }

  /** A token, asked for again after a while if the server is busy. */
  async function tokenInTime(retries = 0): Promise<Token> {
    try {
      return await getToken(AbortSignal.any([left.signal, AbortSignal.timeout(TOKEN_WITHIN_MS)]));
    } catch (error) {
      const seconds = retryAfter(error, retries);
      if (seconds === null) throw error;
      tell({ type: "delayed", problem: delayProblem(error, seconds) });
      await pause(seconds * 1_000);
      return tokenInTime(retries + 1);
    }
  }

  async function rejoin(reason: DisconnectReason | undefined): Promise<void> {
    joined = false;
    if (!isLost(reason)) return end(disconnectProblem(reason));

    tell({ type: "reconnecting" });
    for (const wait of REJOIN_AFTER_MS) {
      await pause(wait);
      if (over || (await enter()) === null) return;
    }
    end(disconnectProblem(reason));
  }

  function watchMicrophone(track: LocalAudioTrack): void {
    // livekit-client switches to the default device when the one in use disappears, and mutes the track when there is none.
    track.on(TrackEvent.Muted, () => muted || tell({ type: "microphoneLost" }));
    track.on(TrackEvent.Unmuted, () => tell({ type: "muted", muted: false }));
  }

  async function setMuted(wanted: boolean): Promise<void> {
    muted = wanted;
    try {
      await (wanted ? microphone?.mute() : microphone?.unmute());
      tell({ type: "muted", muted: wanted });
    } catch {
      tell({ type: "microphoneLost" });
    }
  }

  report({ type: "join" });
  void join();
  return { room, setMuted, leave: () => end(null) };
}

function watchRoom(room: Room, microphone: LocalAudioTrack, report: Report, until: AbortSignal): void {
  const reportAgent = (): void => {
    const agent = agentIn(room);
    report({ type: "agent", state: agent ? (agent.attributes[AGENT_STATE] ?? "initializing") : null });
  };
  watchSilence(room, microphone, until, (heard) => {
    switch (heard) {
      case "nothing":
        return report({ type: "reconnecting" });
      case "assistant silent":
        report({ type: "agent", state: null });
        return report({ type: "agentOverdue" });
      case "both":
        report({ type: "reconnected" });
        return reportAgent();
    }
  });
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

/** Report when the server or the assistant can't be heard any more, and when they can again. */
function watchSilence(room: Room, microphone: LocalAudioTrack, until: AbortSignal, changed: (heard: Heard) => void): void {
  let hearing = NOT_HEARING;
  let before: Heard = "both";

  async function hear(): Promise<void> {
    // While livekit-client itself reconnects, its events say so.
    const connected = room.state === ConnectionState.Connected;
    hearing = listen(hearing, connected ? await receivedIn(room, microphone) : NOTHING_RECEIVED, performance.now());
    const now = heard(hearing, performance.now());
    if (now !== before && room.state === ConnectionState.Connected) changed(now);
    before = now;
  }

  const timer = setInterval(() => void hear(), LISTEN_EVERY_MS);
  until.addEventListener("abort", () => clearInterval(timer));
}

async function receivedIn(room: Room, microphone: LocalAudioTrack): Promise<Received> {
  const sound = agentIn(room)?.getTrackPublication(Track.Source.Microphone)?.track;
  const reports = await Promise.all([microphone.getRTCStatsReport(), sound?.getRTCStatsReport()]).catch(() => []);
  const stats = reports.flatMap((report) => [...(report?.values() ?? [])]);
  const bytes = (type: string): number | null =>
    stats.filter((one) => one.type === type).reduce((sum, one) => sum + (one.bytesReceived ?? 0), 0) || null;
  return { server: bytes("candidate-pair"), assistant: bytes("inbound-rtp") };
}

/** The newest, because an assistant whose process was killed stays in the room for a while. */
function agentIn(room: Room): RemoteParticipant | undefined {
  return [...room.remoteParticipants.values()].findLast((participant) => participant.isAgent);
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

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
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
