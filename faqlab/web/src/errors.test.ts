import { ConnectionError, DisconnectReason } from "livekit-client";
import { describe, expect, test, vi } from "vitest";
import {
  ASSISTANT_MISSING,
  connectionProblem,
  delayProblem,
  disconnectProblem,
  isLost,
  MICROPHONE_LOST,
  microphoneProblem,
  noMicrophoneProblem,
  type PageContext,
  type Problem,
  pageProblem,
  TokenError,
  tokenProblem,
} from "./errors";

const GOOD_PAGE: PageContext = { secure: true, hasMicrophoneApi: true, framed: false, frameAllowsMicrophone: true, origin: "http://127.0.0.1:8000" };
const SERVER = "ws://127.0.0.1:7880";

function wholeText(problem: Problem): string {
  return `${problem.text} ${problem.operator ?? ""}`;
}

function named(name: string): Error {
  return Object.assign(new Error(name), { name });
}

describe("the page", () => {
  test("a page that can have a microphone has no problem", () => {
    expect([pageProblem(GOOD_PAGE), noMicrophoneProblem(GOOD_PAGE)]).toEqual([null, null]);
  });

  test("an insecure page is reported as insecure, not as lacking a microphone", () => {
    // Browsers hide the microphone API from insecure pages, so both are true at once.
    const problem = pageProblem({ ...GOOD_PAGE, secure: false, hasMicrophoneApi: false, origin: "http://192.168.1.5:8000" });
    expect(problem?.text).toContain("http://192.168.1.5:8000");
    expect(problem?.text).toContain("HTTPS");
  });

  test("a frame that blocks the microphone sends the caller to a new tab", () => {
    expect(noMicrophoneProblem({ ...GOOD_PAGE, framed: true, frameAllowsMicrophone: false })).toMatchObject({ newTab: true });
  });
});

describe("the microphone", () => {
  test.each([
    ["NotFoundError", "No microphone was found"],
    ["NotAllowedError", "The browser has blocked the microphone"],
    ["NotReadableError", "another program"],
    ["WeirdError", "WeirdError"],
  ])("%s", (name, words) => {
    expect(wholeText(microphoneProblem(named(name), false))).toContain(words);
  });

  test("a new tab is offered if the microphone was blocked inside a frame, and only then", () => {
    expect(microphoneProblem(named("NotAllowedError"), true).newTab).toBe(true);
    expect(microphoneProblem(named("NotAllowedError"), false).newTab).toBe(false);
    expect(microphoneProblem(named("NotFoundError"), true).newTab).toBeUndefined();
  });
});

describe("the token", () => {
  test("the server's own sentence is for the operator", () => {
    const { text, operator } = tokenProblem(new TokenError(403, "Add the site to FAQLAB_ALLOWED_ORIGINS"));
    expect(text).toBe("The server couldn't start a call. Wait a moment, then press Join.");
    expect(operator).toBe("the token server answered with HTTP 403: Add the site to FAQLAB_ALLOWED_ORIGINS.");
  });

  test("a caller who has to wait reads why and how long", () => {
    expect(delayProblem(new TokenError(429, null), 42).text).toBe("Too many callers from this address just now; trying again in 42 seconds.");
    expect(delayProblem(new TokenError(503, null), 1).text).toBe("The server is busy just now; trying again in 1 second.");
    expect(tokenProblem(new TokenError(429, null)).text).toContain("Too many callers from this address");
  });

  test.each([
    ["no answer at all", new TypeError("Failed to fetch"), "doesn't answer"],
    ["an answer without a sentence", new TokenError(502, null), "HTTP 502"],
    ["an answer without a token", new TokenError(null, null), "make build"],
  ])("%s", (_case, error, words) => {
    expect(wholeText(tokenProblem(error))).toContain(words);
  });
});

describe("the LiveKit server", () => {
  test("an expired token, a refused one and an unreachable server have different words", () => {
    const expired = connectionProblem(ConnectionError.notAllowed("invalid token: token is expired (exp)", 401), SERVER);
    const refused = connectionProblem(ConnectionError.notAllowed("invalid API key", 401), SERVER);
    const gone = connectionProblem(ConnectionError.serverUnreachable("Failed to fetch"), SERVER);
    expect([expired.kind, refused.kind, gone.kind]).toEqual(["token", "token", "server"]);
    expect(expired.text).toContain("has expired");
    expect(refused.text).toContain("was refused");
    expect(gone.text).toContain("can't be reached");
    expect(gone.operator).toContain("127.0.0.1:7880");
  });

  test("sound that does not get through is reported as such", () => {
    expect(wholeText(connectionProblem(ConnectionError.internal("could not establish pc connection"), SERVER))).toMatch(/no sound.*firewall/);
  });

  test("Firefox, which has no way to its own machine, is named", () => {
    const failed = ConnectionError.internal("could not establish pc connection");
    vi.stubGlobal("navigator", { userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0" });
    expect(connectionProblem(failed, SERVER).text).toContain("Firefox");
    expect(connectionProblem(failed, "wss://shop.livekit.cloud").text).not.toContain("Firefox");
    vi.unstubAllGlobals();
    expect(connectionProblem(failed, SERVER).text).not.toContain("Firefox");
  });

  test("an address that isn't a URL is shown unchanged", () => {
    expect(connectionProblem(new Error("bad"), "nowhere").operator).toContain("nowhere");
  });

  test("leaving is no problem; a call that is ended otherwise has a reason", () => {
    expect(disconnectProblem(DisconnectReason.CLIENT_INITIATED)).toBeNull();
    expect(disconnectProblem(DisconnectReason.ROOM_DELETED)?.text).toContain("ended the call");
    expect(disconnectProblem(DisconnectReason.SERVER_SHUTDOWN)?.text).toContain("was stopped");
    expect(disconnectProblem(undefined)?.text).toContain("was lost");
  });

  test("the page joins again only where nobody has ended the call", () => {
    const { CLIENT_INITIATED, ROOM_DELETED, DUPLICATE_IDENTITY, SERVER_SHUTDOWN, SIGNAL_CLOSE, JOIN_FAILURE } = DisconnectReason;
    expect([CLIENT_INITIATED, ROOM_DELETED, DUPLICATE_IDENTITY].map(isLost)).toEqual([false, false, false]);
    expect([SERVER_SHUTDOWN, SIGNAL_CLOSE, JOIN_FAILURE, undefined].map(isLost)).toEqual([true, true, true, true]);
  });
});

test("every problem says what to do, and leaves the commands to the operator", () => {
  const texts = [
    pageProblem({ ...GOOD_PAGE, secure: false }),
    ...[new TypeError(), new TokenError(502, null), new TokenError(503, "no"), new TokenError(429, "no"), new TokenError(null, null)].map(tokenProblem),
    connectionProblem(new Error(), SERVER),
    disconnectProblem(DisconnectReason.DUPLICATE_IDENTITY),
    disconnectProblem(undefined),
    ASSISTANT_MISSING,
  ].map((problem) => problem?.text);
  for (const text of texts) {
    expect(text).toMatch(/(press Join|Press Join|press Reconnect|Open the page|join again)/);
    expect(text).not.toMatch(/faqlab|demo|LiveKit/);
  }
});

test("without a microphone the caller can type", () => {
  const problems = [
    noMicrophoneProblem({ ...GOOD_PAGE, hasMicrophoneApi: false }),
    noMicrophoneProblem({ ...GOOD_PAGE, frameAllowsMicrophone: false }),
    ...["NotFoundError", "NotAllowedError", "NotReadableError", "X"].map((name) => microphoneProblem(named(name), false)),
    MICROPHONE_LOST,
  ];
  for (const problem of problems) expect(problem).toMatchObject({ kind: "microphone", text: expect.stringContaining("You can type your questions.") });
});
