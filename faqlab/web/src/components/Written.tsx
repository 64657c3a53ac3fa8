import { pieces } from "../plain";

interface WrittenProps {
  readonly text: string;
  /** What was said after it. */
  readonly after?: string;
}

/** Text of the FAQ, in which addresses are links. */
export function Written({ text, after = "" }: WrittenProps) {
  return (
    <>
      <p className="written">
        {pieces(text).map(({ text: part, href }, index) =>
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
