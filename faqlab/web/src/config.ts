/** What makes the page yours: title, introduction and colours. Change it here and run `make build`. */

export const PAGE = {
  title: "Ask the FAQ",
  intro: "Press Join, allow the microphone, and ask your question. With each answer you see which FAQ entries were found for it.",

  /** For each colour its value on a light and on a dark background. Text needs a contrast of 4.5:1, marks of 3:1. */
  colours: {
    ground: ["#f6f5f1", "#14191c"],
    surface: ["#ffffff", "#1d2428"],
    ink: ["#1d2428", "#e9ecec"],
    quiet: ["#59646b", "#a5b0b5"],
    rule: ["#dbd8d0", "#364046"],
    accent: ["#0b6a68", "#62c9c2"],
    "on-accent": ["#ffffff", "#07211f"],
    caller: ["#e3efee", "#21393a"],
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
