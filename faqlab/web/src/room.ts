/** One call over LiveKit: opens the microphone, joins, and reports what happens as events. Independent of React. */

import {
  ConnectionState,
  DefaultReconnectPolicy,
  type DisconnectReason,
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
  pageProblem,
  type Problem,
  tokenProblem,
} from "./errors";
import { LOOKUP_TOPIC, parseLookup } from "./lookup";
import { NOTICE_TOPIC, parseNotice } from "./notice";
import { isMicrophone, type Microphone, type MicrophoneRequests, pageContext } from "./microphone";
import { Questions, REPLY_WITHIN_MS } from "./questions";
import { type Arriving, arriving, COUNT_EVERY_MS, count, NO_COUNTS, NOTHING_TO_COUNT, type Received } from "./silence";
import { getToken, retryAfter, type Token } from "./token";
import { type Role, type Said, TRANSCRIPTION_TOPIC } from "./transcript";

/** Typed questions, as livekit's other agents take them. */
const CHAT_TOPIC = "lk.chat";
const FEEDBACK_TOPIC = "faqlab.feedback";
const AGENT_STATE = "lk.agent.state";
const SEGMENT_ID = "lk.segment_id";
const FINAL = "lk.transcription_final";

const TOKEN_WITHIN_MS = 10_000;

const ROOM_OPTIONS: RoomOptions = {
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

export interface CallOptions {
  readonly report: Report;
  /** One that is open already. */
  readonly microphone: Microphone | null;
  readonly microphones: MicrophoneRequests;
  /** Whether to open one, if none is. */
  readonly talk: boolean;
  /** What to ask as soon as the assistant is there. */
  readonly question?: string | undefined;
  /** Whether the conversation before it goes on. */
  readonly keep?: boolean | undefined;
  /** Called with the microphone when it is opened, and with null at the end. */
  readonly onMicrophone: (microphone: Microphone | null) => void;
}

/** A call; `leave` ends it at any stage, and may be called again. */
export interface OpenCall {
  readonly room: Room;
  /** Without a microphone, unmuting asks for one. */
  readonly setMuted: (muted: boolean) => Promise<void>;
  /** Returns false if the call is over. */
  readonly ask: (question: string) => boolean;
  readonly rate: (lookupId: string, helpful: boolean) => Promise<void>;
  readonly leave: () => void;
}

/**
 * Start a call. Returns at once; everything else is reported, ending with one "ended" event.
 *
 * The microphone comes first: a person may take minutes to allow it, and until then the token would expire and the assistant would wait.
 * Without one, or when they type a question instead, the call goes on without.
 */
export function openCall({ report, microphone: opened, microphones, talk, question, keep, onMicrophone }: CallOptions): OpenCall {
  const room = new Room(ROOM_OPTIONS);
  const left = new AbortController();
  const questions = new Questions();
  let stopWaiting = (): void => {};
  let microphone: Microphone | null = null;
  let waiting = true;
  let muted = false;
  let joined = false;
  let over = false;

  const tell: Report = (event) => {
    if (over) return;
    report(event);
    questions.observe(event);
    if (event.type === "agent") void sendQuestion();
  };

  function end(problem: Problem | null): void {
    if (over) return;
    over = true;
    left.abort();
    microphones.cancel();
    microphone?.stop();
    onMicrophone(null);
    void room.disconnect();
    report({ type: "ended", problem });
  }

  async function join(): Promise<void> {
    const blocked = pageProblem(pageContext());
    if (blocked) return end(blocked);

    const asked = opened ?? (talk ? microphones.open() : null);
    const typed = new Promise<null>((resolve) => {
      stopWaiting = () => {
        microphones.cancel();
        resolve(null);
      };
    });
    if (asked === null) microphones.cancel(); // the page may have asked before
    const got = await Promise.race([asked, typed]);
    waiting = false;
    await use(got);
    if (over) return;

    watchRoom(room, () => microphone, tell, left.signal);
    room.on(RoomEvent.Disconnected, (reason) => joined && void rejoin(reason));
    const problem = await enter();
    if (problem) end(problem);
  }

  /** Take the microphone that was opened, if there is one, and report which. */
  async function use(got: Microphone | Problem | null): Promise<void> {
    if (!isMicrophone(got)) return tell({ type: "noMicrophone", problem: got });
    if (over) return got.stop();
    microphone = got;
    watchMicrophone(microphone);
    if (muted) await microphone.mute();
    onMicrophone(microphone);
    tell({ type: "microphoneOpened" });
  }

  /** Join a new room. Returns why that isn't possible, or null. */
  async function enter(): Promise<Problem | null> {
    let given: Token;
    try {
      given = await tokenInTime();
    } catch (error) {
      return tokenProblem(error);
    }
    if (over) return null;

    try {
      await room.connect(given.url, given.token);
      if (microphone) await room.localParticipant.publishTrack(microphone);
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

  function watchMicrophone(track: Microphone): void {
    // livekit-client switches to the default device when the one in use disappears, and mutes the track when there is none.
    track.on(TrackEvent.Muted, () => muted || tell({ type: "microphoneLost" }));
    track.on(TrackEvent.Unmuted, () => tell({ type: "muted", muted: false }));
  }

  async function setMuted(wanted: boolean): Promise<void> {
    muted = wanted;
    try {
      if (microphone) {
        await (wanted ? microphone.mute() : microphone.unmute());
        tell({ type: "muted", muted: wanted });
      } else {
        tell({ type: "muted", muted: wanted });
        if (waiting || wanted) return;
        const got = await microphones.open();
        if (got === null) return; // asked for again
        await use(got);
        if (microphone && joined) await room.localParticipant.publishTrack(microphone);
      }
    } catch {
      tell({ type: "microphoneLost" });
    }
  }

  function ask(text: string): boolean {
    if (over) return false;
    const said: Said = { role: "caller", segmentId: crypto.randomUUID(), text, final: false, pending: true };
    tell({ type: "said", said });
    questions.add(said);
    if (waiting) stopWaiting();
    void sendQuestion();
    return true;
  }

  /** Send the next typed question, once there is an assistant who reads it. */
  async function sendQuestion(): Promise<void> {
    const state = agentIn(room)?.attributes[AGENT_STATE] ?? "initializing";
    if (over || state === "initializing" || room.state !== ConnectionState.Connected) return;
    const said = questions.next();
    if (said === null) return;
    try {
      await room.localParticipant.sendText(said.text, { topic: CHAT_TOPIC });
    } catch {
      return questions.putBack(said); // the connection is gone: again when it is back
    }
    tell({ type: "said", said: { ...said, final: true, pending: false } });
    await pause(REPLY_WITHIN_MS);
    questions.giveUp(said);
    await sendQuestion();
  }

  async function rate(lookupId: string, helpful: boolean): Promise<void> {
    tell({ type: "rated", id: lookupId, helpful });
    await room.localParticipant.sendText(`${lookupId} ${helpful ? "yes" : "no"}`, { topic: FEEDBACK_TOPIC }).catch(() => {});
  }

  report({ type: "join", keep: keep ?? false });
  if (question) ask(question);
  void join();
  return { room, setMuted, ask, rate, leave: () => end(null) };
}

function watchRoom(room: Room, microphone: () => Microphone | null, report: Report, until: AbortSignal): void {
  const reportAgent = (): void => {
    const agent = agentIn(room);
    report({ type: "agent", state: agent ? (agent.attributes[AGENT_STATE] ?? "initializing") : null });
  };
  watchSilence(room, microphone, until, (arrives) => {
    switch (arrives) {
      case "nothing":
        return report({ type: "reconnecting" });
      case "server only":
        report({ type: "agent", state: null });
        return report({ type: "agentOverdue" });
      case "both":
        report({ type: "reconnected" });
        return reportAgent();
    }
  });
  room
    .on(RoomEvent.Connected, () => {
      report({ type: "connected", canType: room.localParticipant.permissions?.canPublishData ?? true });
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

/** Report when nothing arrives any more from the server or the assistant, and when it does again. */
function watchSilence(room: Room, microphone: () => Microphone | null, until: AbortSignal, changed: (arrives: Arriving) => void): void {
  let counts = NO_COUNTS;
  let before: Arriving = "both";

  async function sample(): Promise<void> {
    // While livekit-client itself reconnects, its events say so.
    const connected = room.state === ConnectionState.Connected;
    counts = count(counts, connected ? await receivedIn(room, microphone()) : NOTHING_TO_COUNT, performance.now());
    const now = arriving(counts, performance.now());
    if (now !== before && room.state === ConnectionState.Connected) changed(now);
    before = now;
  }

  const timer = setInterval(() => void sample(), COUNT_EVERY_MS);
  until.addEventListener("abort", () => clearInterval(timer));
}

async function receivedIn(room: Room, microphone: Microphone | null): Promise<Received> {
  const sound = agentIn(room)?.getTrackPublication(Track.Source.Microphone)?.track;
  const reports = await Promise.all([microphone?.getRTCStatsReport(), sound?.getRTCStatsReport()]).catch(() => []);
  const stats = reports.flatMap((report) => [...(report?.values() ?? [])]);
  const bytes = (type: string): number | null =>
    stats.filter((one) => one.type === type).reduce((sum, one) => sum + (one.bytesReceived ?? 0), 0) || null;
  // Without a microphone there are no reports on its packets.
  return { server: microphone && bytes("candidate-pair"), assistant: bytes("inbound-rtp") };
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
