import { type Link, pieces } from "../links";

interface WrittenProps {
  readonly text: string;
  readonly links: readonly Link[];
  /** What was said after it. */
  readonly after?: string;
}

/** Text of the FAQ with its links. */
export function Written({ text, links, after = "" }: WrittenProps) {
  return (
    <>
      <p className="written">
        {pieces(text, links).map(({ text: part, href }, index) =>
          href === null ? (
            part
          ) : (
            <a key={index} href={href} target="_blank" rel="noopener noreferrer">
              {part}
            </a>
          ),
        )}
      </p>
      {after && <p>{after}</p>}
    </>
  );
}
