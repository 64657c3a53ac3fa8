/** Why a call isn't possible, in words for a person: what happened, and what to do. */

import { ConnectionError, ConnectionErrorReason, DisconnectReason } from "livekit-client";

export interface Problem {
  readonly kind: "page" | "microphone" | "token" | "server" | "assistant";
  /** For everybody. */
  readonly text: string;
  /** For the person who runs the page. */
  readonly operator?: string;
  /** The page is inside a frame that blocks what a new tab would allow. */
  readonly newTab?: boolean;
}

/** What decides whether the page can use a microphone. */
export interface PageContext {
  readonly secure: boolean;
  readonly hasMicrophoneApi: boolean;
  readonly framed: boolean;
  /** False where a frame was made without `allow="microphone"`. */
  readonly frameAllowsMicrophone: boolean;
  readonly origin: string;
}

/** The token server refused or failed; `detail` is its own sentence, for the operator, or null if it gave none. */
export class TokenError extends Error {
  constructor(
    readonly status: number | null,
    readonly detail: string | null,
    /** In how many seconds to ask again; null if the server didn't say. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail ?? `token server: ${status ?? "no answer"}`);
    this.name = "TokenError";
  }
}

const START_AGAIN = "start it again (demo.start() in the notebook, or faqlab serve in a terminal).";

/** Why this page can't make calls at all; null if it can. */
export function pageProblem(page: PageContext): Problem | null {
  if (page.secure) return null;
  return {
    kind: "page",
    text: `The connection to ${page.origin} isn't secure, so the browser allows no call. Open the page over HTTPS.`,
    operator: "without HTTPS, it works only as http://127.0.0.1 or http://localhost, on the machine that serves it.",
  };
}

/** Why this page can't have a microphone, before asking for one; null if it can. */
export function noMicrophoneProblem(page: PageContext): Problem | null {
  const kind = "microphone";
  if (!page.hasMicrophoneApi) {
    return { kind, text: `This browser offers no microphone to web pages. ${TYPE} To talk, use a current Chrome, Edge, Firefox or Safari.` };
  }
  if (!page.frameAllowsMicrophone) {
    return { kind, text: `The frame around this page blocks the microphone. ${TYPE}`, newTab: true };
  }
  return null;
}

const TYPE = "You can type your questions.";

/** Why the microphone couldn't be opened. */
export function microphoneProblem(error: unknown, framed: boolean): Problem {
  return { kind: "microphone", ...microphoneWords(nameOf(error), framed) };
}

function microphoneWords(name: string, framed: boolean): Omit<Problem, "kind"> {
  switch (name) {
    case "NotFoundError":
    case "DevicesNotFoundError":
    case "OverconstrainedError":
      return { text: `No microphone was found. ${TYPE} To talk, plug one in and turn it on.` };
    case "NotAllowedError":
    case "PermissionDeniedError":
    case "SecurityError":
      return {
        text:
          `The browser has blocked the microphone. ${TYPE} To talk, allow it in the browser's address bar ` +
          "and in the system's settings, and turn it on.",
        newTab: framed,
      };
    case "NotReadableError":
    case "TrackStartError":
    case "AbortError":
      return { text: `The microphone couldn't be opened, perhaps because another program is using it. ${TYPE} To talk, close that program and turn it on.` };
    default:
      return {
        text: `The microphone couldn't be opened. ${TYPE} To talk, try another microphone or browser.`,
        operator: `the browser reported ${name}.`,
      };
  }
}

/** The microphone stopped during a call. */
export const MICROPHONE_LOST: Problem = {
  kind: "microphone",
  text: `The microphone stopped, perhaps because it was unplugged. ${TYPE} To talk, plug it in again and press Unmute.`,
};

/** Why there is no token to join with. */
export function tokenProblem(error: unknown): Problem {
  const kind = "token";
  if (!(error instanceof TokenError)) {
    return { kind, text: "The server doesn't answer. Wait a moment, then press Join.", operator: `check that the token server is running, or ${START_AGAIN}` };
  }
  if (error.status === 429) return { kind, text: `${TOO_MANY_CALLERS}. Wait a minute, then press Join.` };
  const text = "The server couldn't start a call. Wait a moment, then press Join.";
  if (error.status === null) return { kind, text, operator: "the token server sent no usable token; rebuild the page with make build." };
  const answer = error.detail ? `HTTP ${error.status}: ${sentence(error.detail)}` : `HTTP ${error.status}; check its log, or ${START_AGAIN}`;
  return { kind, text, operator: `the token server answered with ${answer}` };
}

const TOO_MANY_CALLERS = "Too many callers from this address just now";

/** What the page says while it waits to ask for a token again. */
export function delayProblem(error: unknown, seconds: number): Problem {
  const why = error instanceof TokenError && error.status === 429 ? TOO_MANY_CALLERS : "The server is busy just now";
  return { kind: "token", text: `${why}; trying again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.` };
}

/** Why the LiveKit server at *url* couldn't be joined with the token. */
export function connectionProblem(error: unknown, url: string): Problem {
  const server = hostOf(url);
  if (error instanceof ConnectionError) {
    if (error.reason === ConnectionErrorReason.NotAllowed) {
      const why = /expir/i.test(error.message) ? "has expired" : "was refused";
      return {
        kind: "token",
        text: `The permission for this call ${why}. Press Join to get a new one.`,
        operator: `if that happens again, check the clock of the LiveKit server at ${server}, its key and its secret.`,
      };
    }
    if (error.reason === ConnectionErrorReason.InternalError && /pc connection/i.test(error.message)) {
      if (LOOPBACK.test(server) && /firefox/i.test(navigator.userAgent)) {
        return {
          kind: "server",
          text: "Firefox can't make calls within one machine. Open the page in Chrome, Edge or Chromium, then press Join.",
          operator: `with a LiveKit server elsewhere than at ${server}, Firefox can make calls.`,
        };
      }
      return {
        kind: "server",
        text: "The server answers, but no sound gets through. Turn off your VPN or use another network, then press Join.",
        operator: `check that no firewall blocks UDP between the browser and the LiveKit server at ${server}.`,
      };
    }
  }
  return {
    kind: "server",
    text: "The server can't be reached. Wait a moment, then press Join.",
    operator: `check that the LiveKit server at ${server} is running, or ${START_AGAIN}`,
  };
}

const LOOPBACK = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::|$)/;

/** Why an established call ended; null if the caller left. */
export function disconnectProblem(reason: DisconnectReason | undefined): Problem | null {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return null;
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
    case DisconnectReason.PARTICIPANT_REMOVED:
      return { kind: "assistant", text: "The other side ended the call. Press Join again to start a new one." };
    case DisconnectReason.DUPLICATE_IDENTITY:
      return { kind: "server", text: "The same caller joined from another page, so this call ended. Press Join again to start a new one." };
    case DisconnectReason.SERVER_SHUTDOWN:
      return { kind: "server", text: "The server was stopped. Wait a moment, then press Reconnect.", operator: `the LiveKit server was stopped; ${START_AGAIN}` };
    default:
      return {
        kind: "server",
        text: "The connection was lost. Wait a moment, then press Reconnect.",
        operator: `check that the LiveKit server is running, or ${START_AGAIN}`,
      };
  }
}

/** Whether an established call ended because the connection failed, so that the page should join again. */
export function isLost(reason: DisconnectReason | undefined): boolean {
  return reason === undefined || !ENDED.includes(reason);
}

const ENDED = [
  DisconnectReason.CLIENT_INITIATED,
  DisconnectReason.ROOM_DELETED,
  DisconnectReason.ROOM_CLOSED,
  DisconnectReason.PARTICIPANT_REMOVED,
  DisconnectReason.DUPLICATE_IDENTITY,
];

/** For minutes no assistant has come. */
export const ASSISTANT_MISSING: Problem = {
  kind: "assistant",
  text: "No assistant is free yet. You can keep waiting, press Reconnect, or press Leave and join again later.",
  operator: "check that the agent is running, and how many calls it takes.",
};

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : "unknown error";
}

function hostOf(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return url;
  }
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
