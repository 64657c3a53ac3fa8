import type { MouseEvent, ReactNode, RefObject } from "react";
import { type Call, isUnderWay } from "../call";
import type { Actions } from "../useCall";
import { LeaveIcon, MicrophoneIcon, ReconnectIcon } from "./icons";

interface ControlsProps {
  readonly call: Call;
  readonly actions: Actions;
  readonly meter: ReactNode;
  readonly picker: ReactNode;
  readonly startAudio: ReactNode;
  readonly muteButton: RefObject<HTMLButtonElement | null>;
  readonly joinButton: RefObject<HTMLButtonElement | null>;
  readonly once: (act: () => void) => (event: MouseEvent) => void;
}

/** The buttons of a call, or those after one. */
export function Controls({ call, actions, meter, picker, startAudio, muteButton, joinButton, once }: ControlsProps) {
  if (!isUnderWay(call)) {
    const lost = call.problem !== null && call.problem.kind !== "assistant";
    return (
      <div className="controls">
        <button ref={joinButton} type="button" className="button primary" data-testid="join" onClick={once(lost ? actions.reconnect : actions.join)}>
          {lost ? <ReconnectIcon /> : <MicrophoneIcon off={false} />}
          {lost ? "Reconnect" : "Join again"}
        </button>
      </div>
    );
  }
  const hasMicrophone = call.microphone || call.stage === "microphone";
  const off = call.muted || !hasMicrophone;
  const label = hasMicrophone ? (call.muted ? "Unmute" : "Mute") : "Turn on microphone";
  return (
    <div className="controls">
      {startAudio}
      {call.stage === "connected" && call.agent === null && call.agentOverdue && (
        <button type="button" className="button reconnect" data-testid="reconnect" onClick={once(actions.reconnect)}>
          <ReconnectIcon />
          Reconnect
        </button>
      )}
      <button ref={muteButton} type="button" className="button mute" data-testid="mute" data-off={hasMicrophone && call.muted} onClick={once(() => actions.setMuted(!off))}>
        <MicrophoneIcon off={off} />
        {label}
        {!off && meter}
      </button>
      {call.microphone && picker}
      <button type="button" className="button leave" data-testid="leave" onClick={once(actions.leave)}>
        <LeaveIcon />
        Leave
      </button>
    </div>
  );
}
