/** Typed questions: the next one is sent when the reply to the one before has been spoken, or while it is, to interrupt it. */

import type { CallEvent } from "./call";
import type { Said } from "./transcript";

/** A reply begins within this time, or there is none. */
export const REPLY_WITHIN_MS = 10_000;

export class Questions {
  private readonly unsent: Said[] = [];
  private readonly begun = new Set<string>();
  private asked: Said | undefined;
  private awaiting: "nothing" | "reply" | "end of reply" = "nothing";

  add(said: Said): void {
    // While a reply is spoken, a question interrupts it, but not if it was typed before that reply began.
    if (this.awaiting === "end of reply" && this.unsent.length === 0) this.awaiting = "nothing";
    this.unsent.push(said);
  }

  /** The question to send now; null if there is none, or it has to wait. */
  next(): Said | null {
    if (this.awaiting !== "nothing") return null;
    this.asked = this.unsent.shift();
    if (this.asked) this.awaiting = "reply";
    return this.asked ?? null;
  }

  /** *said* couldn't be sent: it stays the first. */
  putBack(said: Said): void {
    this.unsent.unshift(said);
    this.awaiting = "nothing";
  }

  /** No reply to *said* has come. */
  giveUp(said: Said): void {
    if (this.awaiting === "reply" && this.asked?.segmentId === said.segmentId) this.awaiting = "nothing";
  }

  /** Take note of what happens in the call. */
  observe(event: CallEvent): void {
    if (event.type === "connected") this.awaiting = "nothing";
    if (event.type === "agent" && this.awaiting === "end of reply" && event.state !== "speaking" && event.state !== "thinking") this.awaiting = "nothing";
    if (event.type !== "said" || event.said.role !== "assistant" || this.begun.has(event.said.segmentId)) return;
    this.begun.add(event.said.segmentId);
    if (this.awaiting === "reply") this.awaiting = "end of reply";
  }
}
