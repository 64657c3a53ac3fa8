/** What makes the page yours, except its title, which is FAQLAB_TITLE. Change it here and run `make build`. */

import type { Site } from "./site";

export const PAGE = {
  intro: "Ask in your own words, aloud or typed. You hear the answer, and can read it here.",

  /** What callers are told before they join. It should be true of every way in which you run the page. */
  privacy: ({ gemini, server, saved }: Site): string =>
    [
      "You talk to a machine.",
      gemini
        ? "Google receives what you say or type, to understand and answer it."
        : "What you say or type is processed on the operator's own computer.",
      server === null ? "" : `The call goes through ${server.endsWith(".livekit.cloud") ? "LiveKit Cloud" : server}.`,
      saved
        ? "Your voice isn't recorded; your questions are saved as text, and so is whether an answer helped."
        : "Your voice isn't recorded, and your questions are forgotten when the service stops.",
    ]
      .filter(Boolean)
      .join(" "),

  /** For each colour its value on a light and on a dark background. Text needs a contrast of 4.5:1, marks of 3:1. */
  colours: {
    ground: ["#f6f5f1", "#14191c"],
    surface: ["#ffffff", "#1d2428"],
    ink: ["#1d2428", "#e9ecec"],
    quiet: ["#59646b", "#a5b0b5"],
    rule: ["#dbd8d0", "#364046"],
    accent: ["#0b6a68", "#62c9c2"],
    "on-accent": ["#ffffff", "#07211f"],
    danger: ["#b3261e", "#f0a49b"],
    "on-danger": ["#ffffff", "#3a0f0a"],
    caller: ["#dcebe9", "#21393a"],
    mark: ["#b3400f", "#ff9d6c"],
    problem: ["#fdeeea", "#3b211d"],
    "problem-ink": ["#7d1f12", "#ffc9bd"],
    warning: ["#fbf1dc", "#362c17"],
    "warning-ink": ["#6d4600", "#f3d698"],
  } satisfies Record<string, readonly [light: string, dark: string]>,
};

/** Make the colours available to the style sheet as `var(--ground)` and so on. */
export function applyColours(style: CSSStyleDeclaration): void {
  for (const [name, [light, dark]] of Object.entries(PAGE.colours)) {
    style.setProperty(`--${name}`, `light-dark(${light}, ${dark})`);
  }
}
