import { useEffect, useRef } from "react";
import type { Problem } from "../errors";
import { WarningIcon } from "./icons";

export function ProblemNote({ problem }: { readonly problem: Problem }) {
  const note = useRef<HTMLDivElement>(null);
  // In a low frame, or much enlarged, it could lie below the edge.
  useEffect(() => {
    // Braces matter: Chromium returns a promise here, and React would take it for this effect's clean-up and call it.
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
              Open in a tab of its own
            </a>
          </>
        )}
      </p>
    </div>
  );
}
