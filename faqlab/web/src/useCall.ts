/** The call for React: its state, and the three things a caller can do. */

import type { Room } from "livekit-client";
import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { AGENT_MISSING_MS, AGENT_OVERDUE_MS, type Call, NO_CALL, reduceCall } from "./call";
import { openCall, type OpenCall } from "./room";

export interface CallHandle {
  readonly call: Call;
  /** Null before the first call; the last one after a call. */
  readonly room: Room | null;
  readonly join: () => void;
  readonly leave: () => void;
  readonly setMuted: (muted: boolean) => void;
}

export function useCall(): CallHandle {
  const [call, report] = useReducer(reduceCall, NO_CALL);
  const [room, setRoom] = useState<Room | null>(null);
  const open = useRef<OpenCall | null>(null);

  const join = useCallback(() => {
    open.current?.leave();
    open.current = openCall(report);
    setRoom(open.current.room);
  }, []);
  const leave = useCallback(() => open.current?.leave(), []);
  const setMuted = useCallback((muted: boolean) => void open.current?.setMuted(muted), []);

  useEffect(() => () => open.current?.leave(), []);

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

  return { call, room, join, leave, setMuted };
}
