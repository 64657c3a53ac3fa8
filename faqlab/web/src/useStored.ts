import { useState } from "react";

/** State that this browser keeps; where it keeps nothing, such as in some frames, it lasts as long as the page. */
export function useStored<T extends string>(key: string, initial: T): [T, (value: T) => void] {
  const [value, setValue] = useState<T>(() => (stored(key) as T | null) ?? initial);
  return [
    value,
    (next) => {
      setValue(next);
      try {
        window.localStorage.setItem(key, next);
      } catch {
        // Blocked.
      }
    },
  ];
}

function stored(key: string): string | null {
  try {
    return window.localStorage.getItem(key);
  } catch {
    return null;
  }
}
