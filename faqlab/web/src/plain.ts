/** Text from the FAQ, to read: without the HTML and Markdown that it may hold, and where its links are. */

const PARAGRAPH = /<\/(?:p|div|ul|ol|table|h\d)\b[^>]*>/gi;
const LINE = /<(?:br|\/li|\/tr)\b[^>]*>/gi;
const TAG = /<\/?[a-z][^<>]*>/gi;
const ENTITY = /&(amp|lt|gt|quot|nbsp|#39);/g;
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0", "#39": "'" };

export function plain(text: string): string {
  return text
    .replace(PARAGRAPH, "\n\n")
    .replace(LINE, "\n")
    .replace(TAG, "")
    .replace(ENTITY, (_whole, name: string) => ENTITIES[name] ?? "")
    .replace(/!?\[([^\]]+)\]\((\S+?)\)/g, "$1 ($2)")
    .replace(/\*\*(?=\S)(.+?)\*\*/g, "$1")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}

export interface Piece {
  readonly text: string;
  /** Where it leads; null if it's no link. */
  readonly href: string | null;
}

const LINK = /(https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)/;

/** Only web and e-mail addresses become links. */
export function pieces(text: string): Piece[] {
  return text
    .split(LINK)
    .filter((part) => part !== "")
    .map((part) => ({ text: part, href: LINK.test(part) ? (part.startsWith("http") ? part : `mailto:${part}`) : null }));
}
