import { RoomAudioRenderer, RoomContext, StartAudio } from "@livekit/components-react";
import { useEffect } from "react";
import { isUnderWay, shownState } from "./call";
import { Meter } from "./components/Meter";
import { MicrophonePicker } from "./components/MicrophonePicker";
import { LiveOrb } from "./components/LiveOrb";
import { Orb } from "./components/Orb";
import { Page } from "./components/Page";
import type { Theme } from "./components/Switches";
import type { Site } from "./site";
import { useCall } from "./useCall";
import { useStored } from "./useStored";

/** *details*: whether the evidence is shown until the user chooses. */
export function App({ site, details }: { readonly site: Site | null; readonly details: boolean }) {
  const { call, room, microphone, actions } = useCall();
  const [theme, setTheme] = useStored<Theme>("theme", "system");
  const [shown, setShown] = useStored<"on" | "off">(details ? "details in a notebook" : "details", details ? "on" : "off");
  const state = shownState(call);
  const live = room !== null && isUnderWay(call);

  useEffect(() => {
    document.documentElement.style.colorScheme = theme === "system" ? "light dark" : theme;
  }, [theme]);

  return (
    <RoomContext.Provider value={room ?? undefined}>
      {live && <RoomAudioRenderer />}
      <Page
        call={call}
        site={site}
        actions={actions}
        details={shown === "on"}
        onDetails={(on) => setShown(on ? "on" : "off")}
        theme={theme}
        onTheme={setTheme}
        orb={live ? <LiveOrb state={state} microphone={microphone} /> : <Orb state={state} level={0} />}
        meter={microphone && <Meter microphone={microphone} />}
        picker={microphone && <MicrophonePicker microphone={microphone} />}
        // Visible only if the browser blocks sound until the user allows it.
        startAudio={live && <StartAudio className="button primary" label="Turn on sound" />}
      />
    </RoomContext.Provider>
  );
}
