/** The call for React: its state, and what a caller can do. */

import type { Room } from "livekit-client";
import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { AGENT_MISSING_MS, AGENT_OVERDUE_MS, type Call, NO_CALL, reduceCall } from "./call";
import { isMicrophone, type Microphone, microphoneRequests } from "./microphone";
import { type CallOptions, openCall, type OpenCall } from "./room";

export interface Actions {
  readonly join: () => void;
  /** Join again, and go on with the conversation. */
  readonly reconnect: () => void;
  /** Ask by text: in the call, or in a new one without a microphone. */
  readonly ask: (question: string) => void;
  readonly rate: (lookupId: string, helpful: boolean) => void;
  readonly setMuted: (muted: boolean) => void;
  /** Open the microphone before the call. */
  readonly checkMicrophone: () => void;
  readonly leave: () => void;
}

export interface CallHandle {
  readonly call: Call;
  /** Null before the first call; the last one after a call. */
  readonly room: Room | null;
  /** Open before or in a call. */
  readonly microphone: Microphone | null;
  readonly actions: Actions;
}

export function useCall(): CallHandle {
  const [call, report] = useReducer(reduceCall, NO_CALL);
  const [room, setRoom] = useState<Room | null>(null);
  const [microphone, setMicrophone] = useState<Microphone | null>(null);
  const [microphones] = useState(() => microphoneRequests());
  const open = useRef<OpenCall | null>(null);

  const start = useCallback((options: Partial<CallOptions>) => {
    open.current?.leave();
    open.current = openCall({ report, microphone: null, microphones, talk: true, onMicrophone: setMicrophone, ...options });
    setRoom(open.current.room);
  }, [microphones]);
  useEffect(
    () => () => {
      open.current?.leave();
      microphones.cancel();
    },
    [microphones],
  );

  const actions: Actions = {
    join: () => start({ microphone }),
    reconnect: () => start({ talk: call.microphone, keep: true }),
    // Not by what is shown, which may be older than a question just typed.
    ask: (question) => void (open.current?.ask(question) || start({ microphone, talk: false, question })),
    rate: (lookupId, helpful) => void open.current?.rate(lookupId, helpful),
    setMuted: (muted) => void open.current?.setMuted(muted),
    checkMicrophone: () =>
      void microphones.open().then((opened) => {
        if (opened === null) return; // a call has begun
        setMicrophone(isMicrophone(opened) ? opened : null);
        report(isMicrophone(opened) ? { type: "microphoneOpened" } : { type: "noMicrophone", problem: opened });
      }),
    leave: () => open.current?.leave(),
  };

  const alone = call.stage === "connected" && call.agent === null;
  useEffect(() => {
    if (!alone) return;
    const overdue = setTimeout(() => report({ type: "agentOverdue" }), AGENT_OVERDUE_MS);
    const missing = setTimeout(() => report({ type: "agentMissing" }), AGENT_MISSING_MS);
    return () => {
      clearTimeout(overdue);
      clearTimeout(missing);
    };
  }, [alone]);

  const operator = call.problem?.operator;
  useEffect(() => {
    if (operator) console.warn(`For whoever runs this page: ${operator}`);
  }, [operator]);

  return { call, room, microphone, actions };
}
