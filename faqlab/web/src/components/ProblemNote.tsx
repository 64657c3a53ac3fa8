import type { Problem } from "../errors";
import { WarningIcon } from "./icons";

export function ProblemNote({ problem }: { readonly problem: Problem }) {
  return (
    <div className="problem" role="alert" data-testid="problem" data-kind={problem.kind}>
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
