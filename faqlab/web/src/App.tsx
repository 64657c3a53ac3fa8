import { RoomAudioRenderer, RoomContext, StartAudio } from "@livekit/components-react";
import { isUnderWay, shownState } from "./call";
import { LiveOrb } from "./components/LiveOrb";
import { Orb } from "./components/Orb";
import { Page } from "./components/Page";
import { useCall } from "./useCall";

export function App() {
  const { call, room, join, leave, setMuted } = useCall();
  const state = shownState(call);
  const live = room !== null && isUnderWay(call);

  return (
    <RoomContext.Provider value={room ?? undefined}>
      {live && <RoomAudioRenderer />}
      <Page
        call={call}
        orb={live ? <LiveOrb state={state} /> : <Orb state={state} level={0} />}
        // Visible only if the browser blocks sound until the user allows it.
        startAudio={live && <StartAudio className="button primary" label="Turn on sound" />}
        onJoin={join}
        onLeave={leave}
        onMute={setMuted}
      />
    </RoomContext.Provider>
  );
}
