/** A message about the agent itself, such as a switch to the offline models: JSON on the text stream topic `faqlab.notice`. */

import { parseObject } from "./lookup";

export const NOTICE_TOPIC = "faqlab.notice";

export interface Notice {
  readonly level: "info" | "warning";
  readonly text: string;
}

/** Read one notice from its JSON; null for anything else. */
export function parseNotice(json: string): Notice | null {
  const value = parseObject(json);
  if (value === null || typeof value.text !== "string" || value.text.trim() === "") return null;
  return { level: value.level === "warning" ? "warning" : "info", text: value.text };
}
