import { Room } from "livekit-client";
import { useEffect, useState } from "react";
import type { Microphone } from "../microphone";

/** The choice between microphones, where there are several. */
export function MicrophonePicker({ microphone }: { readonly microphone: Microphone }) {
  const [devices, setDevices] = useState<readonly MediaDeviceInfo[]>([]);
  const [chosen, setChosen] = useState("");

  useEffect(() => {
    let gone = false;
    async function list(): Promise<void> {
      const [found, current] = await Promise.all([Room.getLocalDevices("audioinput", false), microphone.getDeviceId()]);
      if (gone) return;
      setDevices(found);
      setChosen(current ?? "");
    }
    const refresh = (): void => void list().catch(() => {});
    refresh();
    navigator.mediaDevices.addEventListener("devicechange", refresh);
    return () => {
      gone = true;
      navigator.mediaDevices.removeEventListener("devicechange", refresh);
    };
  }, [microphone]);

  async function choose(id: string): Promise<void> {
    // If it can't be opened, livekit-client keeps the one before.
    await microphone.setDeviceId({ exact: id }).catch(() => {});
    setChosen((await microphone.getDeviceId()) ?? "");
  }

  return <DeviceSelect devices={devices} chosen={chosen} onChoose={(id) => void choose(id)} />;
}

interface DeviceSelectProps {
  readonly devices: readonly Pick<MediaDeviceInfo, "deviceId" | "label">[];
  readonly chosen: string;
  readonly onChoose: (id: string) => void;
}

export function DeviceSelect({ devices, chosen, onChoose }: DeviceSelectProps) {
  if (devices.length < 2) return null;
  return (
    <select className="picker" aria-label="Microphone" data-testid="picker" value={chosen} onChange={({ target }) => onChoose(target.value)}>
      {devices.map(({ deviceId, label }, index) => (
        <option key={deviceId} value={deviceId}>
          {label || `Microphone ${index + 1}`}
        </option>
      ))}
    </select>
  );
}
