import { useEffect, useRef } from "react";
import type { Problem } from "../errors";
import { WarningIcon } from "./icons";

interface ProblemNoteProps {
  readonly problem: Problem;
  /** Whether to show what is meant for the person who runs the page. */
  readonly details: boolean;
}

export function ProblemNote({ problem, details }: ProblemNoteProps) {
  const note = useRef<HTMLDivElement>(null);
  // In a low frame, or with large text, it could be below the edge.
  useEffect(() => {
    // The braces matter: Chromium returns a promise here, and React would call it as this effect's clean-up.
    note.current?.scrollIntoView({ block: "nearest" });
  }, [problem]);

  return (
    <div ref={note} className="problem" role="alert" data-testid="problem" data-kind={problem.kind}>
      <WarningIcon />
      <p>
        {problem.text}
        {problem.newTab && (
          <>
            {" "}
            <a href={window.location.href} target="_blank" rel="noopener">
              Open in a new tab
            </a>
          </>
        )}
        {details && problem.operator && <small>If you run this page: {problem.operator}</small>}
      </p>
    </div>
  );
}
