import { expect, test } from "vitest";
import { pieces, plain } from "./plain";

test.each([
  ["<p>Yes, <b>free</b> of charge within&nbsp;30 days &amp; without a reason.</p>", "Yes, free of charge within\u00a030 days & without a reason."],
  ["<p>One.</p><p>Two.<br>Three.</p>", "One.\n\nTwo.\nThree."],
  ["<ul><li>a</li><li>b</li></ul>", "a\nb"],
  ["See [our page](https://shop.example/a) for **all** prices.", "See our page (https://shop.example/a) for all prices."],
  ["Go to Settings > Display. 3 < 5 > 2", "Go to Settings > Display. 3 < 5 > 2"],
  ["Use __init__ and 2 ** 3.", "Use __init__ and 2 ** 3."],
])("%j is read as %j", (text, read) => {
  expect(plain(text)).toBe(read);
});

test.each([
  ["See https://shop.example/a?b=1, or (https://other.example).", ["https://shop.example/a?b=1", "https://other.example"]],
  ["Write to taxes@example.edu.", ["mailto:taxes@example.edu"]],
  ["javascript:alert(1) ftp://example.com @me a@b", []],
])("the links of %j are %j", (text, links) => {
  const parts = pieces(text);
  expect(parts.flatMap(({ href }) => (href === null ? [] : [href]))).toEqual(links);
  expect(parts.map((part) => part.text).join("")).toBe(text);
});
