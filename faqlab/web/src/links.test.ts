import { expect, test } from "vitest";
import { linksIn, pieces } from "./links";

const HREF = "https://shop.example/a?b=1&c=2";

test.each([
  [`See [our **new** page](${HREF} "title").`, [{ text: "our new page", href: HREF }]],
  [`See <a class="x" href='https://shop.example/a?b=1&amp;c=2'><b>our
    page</b></a>.`, [{ text: "our page", href: HREF }]],
  ["[one](https://one.example) <a href=https://two.example>two</a> [three](https://en.example/A_(b))", ["https://one.example", "https://two.example", "https://en.example/A_(b)"].map((href, index) => ({ text: ["one", "two", "three"][index], href }))],
  ["![logo](https://shop.example/logo.png) [x](javascript:alert(1)) <a href='javascript:alert(1)'>x</a> <a name=y>y</a> [z]", []],
  ["[a](".repeat(20_000) + "<a ".repeat(20_000) + "<a>".repeat(20_000) + "href".repeat(20_000), []],
])("the links that the source %j marks up are %j", (source, links) => {
  expect(linksIn(source)).toEqual(links);
});

test.each([
  ["See https://shop.example/a?b=1, or (https://other.example).", ["https://shop.example/a?b=1", "https://other.example"]],
  ["Write to taxes@example.edu.", ["mailto:taxes@example.edu"]],
  ["javascript:alert(1) ftp://example.com @me a@b", []],
  ["a".repeat(100_000), []],
])("the addresses in %j are %j", (text, links) => {
  const parts = pieces(text, []);
  expect(parts.flatMap(({ href }) => (href === null ? [] : [href]))).toEqual(links);
  expect(parts.map((part) => part.text).join("")).toBe(text);
});

test("the words of a link lead where it leads, and one without its words shows its address", () => {
  const links = ["our page", "your page", "gone"].map((text) => ({ text, href: `https://${text.slice(0, 3)}.example` }));
  expect(pieces("See our page or your page.", links)).toEqual([
    { text: "See ", href: null },
    links[0],
    { text: " or ", href: null },
    links[1],
    { text: ".", href: null },
    { text: " ", href: null },
    { text: "https://gon.example", href: "https://gon.example" },
  ]);
});
