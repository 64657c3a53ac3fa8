import { pieces } from "../plain";

/** Text of the FAQ, in which addresses are links. */
export function Written({ text }: { readonly text: string }) {
  return (
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
  );
}
