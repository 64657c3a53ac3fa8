/** Why a call cannot be, in a sentence for a person: what happened, and what to do about it. */

import { ConnectionError, ConnectionErrorReason, DisconnectReason } from "livekit-client";

export interface Problem {
  readonly kind: "page" | "microphone" | "token" | "server" | "assistant";
  readonly text: string;
  /** The page is inside a frame that forbids what a tab of its own would allow. */
  readonly newTab?: boolean;
}

/** What about the page decides whether it can have a microphone at all. */
export interface PageContext {
  readonly secure: boolean;
  readonly hasMicrophoneApi: boolean;
  readonly framed: boolean;
  /** False where a frame was made without `allow="microphone"`. */
  readonly frameAllowsMicrophone: boolean;
  readonly origin: string;
}

/** The token server refused or failed; the message is its own sentence, or null where it gave none. */
export class TokenError extends Error {
  constructor(
    readonly status: number | null,
    readonly detail: string | null,
  ) {
    super(detail ?? `token server: ${status ?? "no answer"}`);
    this.name = "TokenError";
  }
}

const START_AGAIN = "start it again (demo.start() in the notebook, or faqlab serve in a terminal)";

/** Why this page cannot have a microphone, before it is even asked for; null where it can. */
export function pageProblem(page: PageContext): Problem | null {
  if (!page.secure) {
    return {
      kind: "page",
      text:
        `The browser gives no microphone to ${page.origin}, because the page did not come over a secure connection. ` +
        "Open it by http://localhost or http://127.0.0.1 on the machine that serves it, or over HTTPS.",
    };
  }
  if (!page.hasMicrophoneApi) {
    return {
      kind: "page",
      text: "This browser offers no microphone to pages. Open the page in a current Chrome, Edge, Firefox or Safari.",
    };
  }
  if (!page.frameAllowsMicrophone) {
    return {
      kind: "page",
      text: "The frame around this page does not let it use the microphone. Open the page in a tab of its own.",
      newTab: true,
    };
  }
  return null;
}

/** Why the microphone could not be opened. */
export function microphoneProblem(error: unknown, framed: boolean): Problem {
  return { kind: "microphone", ...microphoneWords(nameOf(error), framed) };
}

function microphoneWords(name: string, framed: boolean): { text: string; newTab?: boolean } {
  switch (name) {
    case "NotFoundError":
    case "DevicesNotFoundError":
    case "OverconstrainedError":
      return { text: "No microphone was found. Plug one in or switch it on, then press Join." };
    case "NotAllowedError":
    case "PermissionDeniedError":
    case "SecurityError":
      return {
        text:
          "The microphone was refused. Allow it for this page in the browser's address bar, " +
          "see that the system's settings let the browser use it, then press Join.",
        newTab: framed,
      };
    case "NotReadableError":
    case "TrackStartError":
    case "AbortError":
      return { text: "The microphone could not be opened, perhaps because another program holds it. Close that program, then press Join." };
    default:
      return { text: `The microphone could not be opened (${name}). Try another microphone or browser, then press Join.` };
  }
}

/** The microphone stopped in the middle of a call. */
export const MICROPHONE_LOST: Problem = {
  kind: "microphone",
  text: "The microphone stopped, perhaps because it was unplugged. Plug it in again, then switch Mute off.",
};

/** Why there is no token to join with. */
export function tokenProblem(error: unknown): Problem {
  if (!(error instanceof TokenError)) {
    return { kind: "token", text: `The server of this page does not answer. See that it runs, or ${START_AGAIN}, then press Join.` };
  }
  if (error.detail !== null) return { kind: "token", text: `${sentence(error.detail)} Press Join to try again.` };
  if (error.status === null) {
    return { kind: "token", text: "The server of this page gave no usable token. See that it and this page are of the same version, then press Join." };
  }
  return { kind: "token", text: `The server of this page gave no token (HTTP ${error.status}). Look into its log, or ${START_AGAIN}, then press Join.` };
}

/** Why the LiveKit server at *url* could not be joined with the token. */
export function connectionProblem(error: unknown, url: string): Problem {
  const server = hostOf(url);
  if (error instanceof ConnectionError) {
    if (error.reason === ConnectionErrorReason.NotAllowed) {
      const why = /expir/i.test(error.message) ? "has expired" : "was refused, because it is no longer valid or not meant for this server";
      return {
        kind: "token",
        text: `The token for this call ${why}. Press Join for a new one; if that happens again, see that the server's clock, key and secret are right.`,
      };
    }
    if (error.reason === ConnectionErrorReason.InternalError && /pc connection/i.test(error.message)) {
      return {
        kind: "server",
        text: `The LiveKit server at ${server} answers, but no sound gets through to it. See that no firewall or VPN holds UDP back, then press Join.`,
      };
    }
  }
  return { kind: "server", text: `The LiveKit server at ${server} cannot be reached. See that it runs, or ${START_AGAIN}, then press Join.` };
}

/** Why a call that stood was ended; null when it was the caller who left. */
export function disconnectProblem(reason: DisconnectReason | undefined): Problem | null {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return null;
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
    case DisconnectReason.PARTICIPANT_REMOVED:
      return { kind: "assistant", text: "The other side ended the call. Press Join for a new one." };
    case DisconnectReason.DUPLICATE_IDENTITY:
      return { kind: "server", text: "The same caller joined from another page, so this call ended. Press Join for a new one." };
    case DisconnectReason.SERVER_SHUTDOWN:
      return { kind: "server", text: `The LiveKit server was stopped. To go on, ${START_AGAIN}, then press Join.` };
    default:
      return { kind: "server", text: `The connection to the LiveKit server was lost. See that it runs, or ${START_AGAIN}, then press Join.` };
  }
}

/** No assistant in the call: it never came, or it has left. */
export function assistantProblem(wasThere: boolean): Problem {
  return {
    kind: "assistant",
    text: wasThere
      ? "The assistant has left the call. Leave and join again; if it stays away, see that the agent still runs (demo.start() or faqlab serve)."
      : "No assistant has come to the call. It may still be loading: wait a little, or see that the agent runs (demo.start(), faqlab serve or faqlab agent), then leave and join again.",
  };
}

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
