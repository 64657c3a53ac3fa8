import { type FormEvent, type RefObject, useState } from "react";
import { SendIcon } from "./icons";

/** The most that the agent reads. */
export const LONGEST = 500;

interface ComposerProps {
  readonly field: RefObject<HTMLInputElement | null>;
  readonly label: string;
  readonly onAsk: (question: string) => void;
}

/** A question by text. */
export function Composer({ field, label, onAsk }: ComposerProps) {
  const [text, setText] = useState("");

  function submit(event: FormEvent): void {
    event.preventDefault();
    if (text.trim() === "") return;
    onAsk(text.trim());
    setText("");
  }

  return (
    <form className="composer" onSubmit={submit}>
      <input
        ref={field}
        type="text"
        data-testid="question"
        aria-label={label}
        placeholder={label}
        maxLength={LONGEST}
        autoComplete="off"
        enterKeyHint="send"
        value={text}
        onChange={({ target }) => setText(target.value)}
      />
      <button type="submit" className="button" data-testid="ask" disabled={text.trim() === ""}>
        <SendIcon />
        Ask
      </button>
    </form>
  );
}
