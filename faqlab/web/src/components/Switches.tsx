import { DetailsIcon, ThemeIcon } from "./icons";

export type Theme = "system" | "light" | "dark";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

interface SwitchesProps {
  readonly details: boolean;
  readonly onDetails: (on: boolean) => void;
  readonly theme: Theme;
  readonly onTheme: (theme: Theme) => void;
}

/** How the page looks: with or without the evidence for each answer, and in which colours. */
export function Switches({ details, onDetails, theme, onTheme }: SwitchesProps) {
  return (
    <div className="switches">
      <button type="button" role="switch" className="switch" aria-checked={details} data-testid="details" onClick={() => onDetails(!details)}>
        <DetailsIcon />
        <span className="switch-words">Details</span>
      </button>
      <button type="button" className="switch" data-testid="theme" onClick={() => onTheme(NEXT[theme])}>
        <ThemeIcon theme={theme} />
        <span className="switch-words">
          <span className="unseen">Colours: </span>
          {theme === "system" ? "Auto" : theme === "light" ? "Light" : "Dark"}
        </span>
      </button>
    </div>
  );
}
