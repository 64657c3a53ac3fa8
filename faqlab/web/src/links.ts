/** The links in an answer: the FAQ may have them as Markdown, as HTML or as bare addresses. */

export interface Link {
  readonly text: string;
  readonly href: string;
}

export interface Piece {
  readonly text: string;
  /** Where it leads; null if it's no link. */
  readonly href: string | null;
}

// Only web and e-mail addresses become links. No expression takes more than linear time, because anyone may have written the FAQ.
const MARKED = /(?<!!)\[([^[\]]+)\]\(<?((?:https?:\/\/|mailto:)[^\s<>()]+(?:\([^\s<>()]*\)[^\s<>()]*)*)|<a\s([^<>]*)>((?:<\w[^<>]{0,99}>){0,3}[^<]+)/gi;
const HREF = /href\s{0,9}=\s{0,9}["']?((?:https?:\/\/|mailto:)[^\s"'<>]+)/i;
const ADDRESS = /(https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"]|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)/;

/** The links in the Markdown or HTML of *source*, in order; bare addresses aside. */
export function linksIn(source: string): Link[] {
  return [...source.matchAll(MARKED)].flatMap(([, label, target, attributes, inside]) => {
    const href = target ?? HREF.exec(attributes ?? "")?.[1];
    const text = (label ?? inside ?? "").replace(/<[^<>]*>|[*_`~]/g, "").replace(/\s+/g, " ").trim();
    return href && text ? [{ text: decode(text), href: decode(href) }] : [];
  });
}

/** *text* with its links; one whose words aren't in it stands at the end, as an address. */
export function pieces(text: string, links: readonly Link[]): Piece[] {
  const found: Piece[] = [];
  const lost: Piece[] = [];
  let from = 0;
  for (const link of links) {
    const at = text.indexOf(link.text, from);
    if (at < 0) {
      if (!text.includes(link.href)) lost.push({ text: " ", href: null }, { text: link.href, href: link.href });
      continue;
    }
    found.push(...addresses(text.slice(from, at)), link);
    from = at + link.text.length;
  }
  return [...found, ...addresses(text.slice(from)), ...lost];
}

function addresses(text: string): Piece[] {
  return text
    .split(ADDRESS) // each second part is an address
    .map((part, index) => ({ text: part, href: index % 2 === 0 ? null : part.startsWith("http") ? part : `mailto:${part}` }))
    .filter((part) => part.text !== "");
}

function decode(text: string): string {
  return text.replaceAll("&amp;", "&");
}
