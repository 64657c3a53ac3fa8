"""An FAQ in another format has the same entries, or is refused in a sentence that says what is wrong and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Cli, assert_one_sentence
from openpyxl import Workbook

from faqlab.errors import FaqlabError
from faqlab.faqs import Faq, FaqSet
from faqlab.index import VIEWS
from faqlab.text import plain_text

FIXTURES = Path(__file__).with_name("fixtures")
OURS = FaqSet.load(FIXTURES / "faq/ours.json")

BY_NAME = "known by the names of their fields"
FOUND = {
    "ours.json": "",
    "capital_list.json": BY_NAME,
    "mapping.json": BY_NAME,  # in UTF-16
    "lines.jsonl": BY_NAME,
    "excel.csv": "questions are the column 'Question', answers 'Answer'",  # with a byte order mark
    "semicolons.csv": "questions are the column 'FAQ question', answers 'FAQ answer'",  # in Windows-1252
    "tabs.csv": "questions are the column 'Q', answers 'A'",  # in UTF-16, with CR as the end of a line
    "faq.yaml": BY_NAME,
    "headings.md": "questions are the ### headings",
    "bold.md": "questions are the bold lines",
    "details.html": "questions are the summaries of <details>",
    "schema.html": "from its JSON-LD",
}
BROKEN = {
    "cut_off.json": "not JSON (Unterminated string starting at: line 1 column 85 (char 84)); correct it.",
    "bad_indent.yaml": "not YAML (while parsing a block collection",
    "other_columns.csv": 'no questions and answers found; expected {"questions": [{"question": "…", "answer": "…"}',
    "unquoted_comma.csv": "line 2 has 3 cells, the header 2; put quotation marks around a text that contains the sep",
    "prose.md": 'no questions and answers found; expected {"questions": [{"question": "…", "answer": "…"}, …]}, or',
    "two_answers.json": "question no. 1 and question no. 3 have the same question 'Is there parking?'; question no.",
}


def contents(faqs: FaqSet, category: bool = True) -> list[tuple[str, ...]]:
    return [(faq.question, plain_text(faq.answer), faq.category if category else "") for faq in faqs]


@pytest.mark.parametrize("name", FOUND)
def test_each_format_has_the_same_entries_and_says_how_they_were_found(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    path.write_bytes((FIXTURES / "faq" / name).read_bytes())
    faqs, has_categories = FaqSet.load(path), name != "schema.html"  # schema.org has no category for a question
    assert contents(faqs, has_categories) == contents(OURS, has_categories)
    said = [message for message in caplog.messages if "Windows-1252" not in message]
    assert said == ([f"10 entries from {path}: {FOUND[name]}."] if FOUND[name] else [])


def test_a_sheet_has_the_same_entries(tmp_path: Path) -> None:
    table = pd.DataFrame([{"No.": 1, "QUESTION": faq.question, "": "", "Answer": faq.answer} for faq in OURS])
    table["Topic"], table["ID"] = [faq.category for faq in OURS], range(5, 15)
    table.loc[4.5] = [None] * len(table.columns)
    table.sort_index().to_excel(tmp_path / "faq.xlsx", index=False)
    faqs = FaqSet.load(tmp_path / "faq.xlsx")
    assert contents(faqs) == contents(OURS)
    assert faqs.ids == [str(n) for n in range(5, 15)]


def test_every_fixture_is_tried() -> None:
    assert {path.name for path in (FIXTURES / "faq").iterdir()} == {*FOUND}
    assert {path.name for path in (FIXTURES / "broken").iterdir()} == {*BROKEN}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(name: str, cli: Cli) -> None:
    path = FIXTURES / "broken" / name
    assert_one_sentence(cli("ask", "hello", "--faqs", path), f"{path}: {BROKEN[name]}")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "faq.json",
            b"{'q': 'When?', 'a': 'Daily.'}",
            "not JSON (Expecting property name enclosed in double quotes: line",
        ),
        ("faq.xlsx", b"question,answer", "can't be read as XLSX (File is not a zip file); save it as XLSX or CSV, or"),
        ("faq.docx", b"PK", ".docx isn't read; save it as JSON, YAML, CSV, XLSX, Markdown or HTML."),
        ("faq.csv", b"", "empty; the first row names the columns."),
        ("faq.yaml", b"[" * 2_000, "not YAML (maximum recursion depth exceeded"),
        (
            "faq.yaml",
            b"a: &a0 {q: When, a: Daily.}\n"
            + b"".join(b"b%d: &a%d [*a%d, *a%d]\n" % (n, n + 1, n, n) for n in range(40)),
            "not YAML (aliases, as in *name, aren't read: write out what they stand for); correct it.",
        ),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FaqlabError) as error:
        FaqSet.load(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: {problem}")


TWO = [("When are you open?", "Daily."), ("How can I pay?", "By card.")]
GOOD = {"question": TWO[0][0], "answer": TWO[0][1]}
PAIRS = [{"title": question, "description": answer} for question, answer in TWO]
SHAPES: dict[str, tuple[str, str]] = {
    "a list beside other things": (
        "a.json",
        json.dumps({"version": 2, "meta": {"title": "Help", "description": "All of it"}, "tags": ["x"], "rows": PAIRS}),
    ),
    "objects by their ids": ("a.json", json.dumps(dict(enumerate(PAIRS)))),
    "HTML in JSON": (
        "a.json",
        json.dumps([{"title": {"rendered": question}, "content": {"rendered": answer}} for question, answer in TWO]),
    ),
    "the knowledge base of a bot": (
        "a.json",
        json.dumps({"qnas": [{"data": {"questions": {"en": [q]}, "answers": {"en": [a]}}} for q, a in TWO]}),
    ),
    "the intents of a bot": (
        "a.json",
        json.dumps({"intents": [{"patterns": [q], "responses": [a]} for q, a in TWO]}),
    ),
    "a YAML mapping": ("a.yml", "When are you open?: Daily.\nHow can I pay?: By card.\n"),
    "columns with unknown names": (
        "a.csv",
        "Nr;Frage;Antwort\n1;When are you open?;Daily.\n2;How can I pay?;By card.\n",
    ),
    "a table without a header": ("a.csv", '"When are you open?","Daily."\n"How can I pay?","By card."\n'),
    "Q and A": ("a.txt", "Q: When are you open?\nA: Daily.\n\nQ: How can I pay?\nA: By card.\n"),
    "bold Q and A": (
        "a.md",
        "**Q1:** When are you open?\n**A:** Daily.\n\n**Q2: How can I pay?**\n\n**A:** By card.\n",
    ),
    "a numbered list": ("a.md", "1. **When are you open?**\n   Daily.\n2. **How can I pay?** By card.\n"),
    "plain lines": ("a.txt", "Our FAQ\n\nWhen are you open?\nDaily.\n\nHow can I pay?\nBy card.\n"),
    "numbered headings with anchors": (
        "a.md",
        "## 1. When are you open? {#open}\nDaily.\n## 1.2 How can I pay?\nBy card.",
    ),
    "underlined headings": ("a.md", "When are you open?\n---\nDaily.\n\nHow can I pay?\n---\nBy card.\n"),
    "a table of contents": (
        "a.md",
        "# FAQ\n- [Help](#help)\n  - [When are you open?](#a)\n  - [How can I pay?](#b)\n## Help\n"
        "### When are you open?\nDaily.\n### How can I pay?\nBy card.\n",
    ),
    "the FAQ of a README": (
        "README.md",
        "# Tool\n## Install\n    pip install tool\n## FAQ\n**When are you open?**\n\nDaily.\n\n"
        "* **How can I pay?** By card.\n\n## License\nMIT\n",
    ),
    "details around headings": (
        "a.md",
        "<details>\n<summary><h3>When are you open?</h3></summary>\n\nDaily.\n\n</details>\n"
        "<details><summary>How can I pay?</summary>By card.</details>\n\nThe end.\n",
    ),
    "terms that aren't closed": (
        "a.html",
        "<h1>Help</h1><dl><dt>When are you open?<dd>Daily.<dt><a href='#p'>How can I pay?</a><dd>By card.</dl><p>End",
    ),
    "microdata": (
        "a.html",
        "<div itemtype=Question><span itemprop=name>When are you open?</span><div itemprop=acceptedAnswer>Daily.</div>"
        "</div><div itemtype=Question><span itemprop=name>How can I pay?</span><p>By card.</div>",
    ),
    "an accordion": (
        "a.html",
        "<header><button aria-controls=menu>Menu</button></header><main><h2><button>When are you open?</button></h2>"
        "<div>Daily.</div><h2><button>How can I pay?<svg></svg> +</button></h2><div>By card.</div></main>More?<p>Us",
    ),
    "classes": (
        "a.html",
        "<div class=faq-question>When are you open?</div><div class=faq-answer>Daily.</div>"
        "<div class=faq-question>How can I pay?</div><div class=faq-answer>By card.</div>",
    ),
    "bold lines of old": (
        "a.html",
        "<UL><LI><A HREF=#1>When are you open?</A><LI><A HREF=#2>How can I pay?</A></UL><P><A NAME=1></A>"
        "<B>When are you open?</B><BR>Daily.<P><A NAME=2><B>How can I pay?</B></A><P>By card.",
    ),
    "answers with leftovers": (
        "a.md",
        "## When are you open?\n**A**: Daily.\n\n[⬆ back to top](#top)\n## How can I pay?\n: By card.\n",
    ),
    "a numbered list of contents": (
        "a.html",
        "<h2>Contents</h2><ul><li><a href='#a'><span>1</span> <span>When are you open?</span></a></ul>"
        "<h2>When are you open?[<a href=/e>edit</a>]</h2><p>Daily.<h2>How can I pay?</h2><p>By card.",
    ),
    "JSON-LD with escaped tags": (
        "a.html",
        '<script type="application/ld+json">'
        + json.dumps([{"@type": "Question", "name": q, "acceptedAnswer": {"text": a}} for q, a in TWO]).replace(
            "By card", "By &#99;ard"
        )
        + "</script>",
    ),
    "bold lines of Word": (
        "a.html",
        "<p><b>When are you open?<o:p></o:p></b><p>Daily.<p><b>How can I pay?<o:p></o:p></b><p>By card.",
    ),
    "headings with boxes around them": (
        "a.html",
        "<article><div><h2>When are you open?<a href=#a>¶</a></h2></div><p>Daily.</p>"
        "<div><h2>How can I pay?</h2><a href=#b><svg></svg></a></div><p>By card.</p></article><div>Footer</div>",
    ),
    "questions and answers by their keys": (
        "a.yml",
        "hours_q: When are you open?\nhours_a: Daily.\npay_q:\n  en: How can I pay?\n  de: Wie zahle ich?\n"
        "pay_a:\n  en: By card.\n  de: Mit Karte.\n",
    ),
    "numbered keys": (
        "a.json",
        json.dumps(
            {
                "faq": {
                    "title": "Help",
                    **{f"{of}{n}": text for n, row in enumerate(TWO) for of, text in zip("qa", row, strict=True)},
                }
            }
        ),
    ),
    "a language beside others": (
        "a.json",
        json.dumps(
            [
                {"id": n, "de": {"title": "?", "text": "Ja."}, "en": {"title": q, "text": a}}
                for n, (q, a) in enumerate(TWO)
            ]
        ),
    ),
    "names with the language": (
        "a.jsonl",
        "\n".join(
            json.dumps({"question_de": "Wann?", "answer_de": "Ja.", "question_en": q, "answer_en": a}) for q, a in TWO
        ),
    ),
    "objects within objects": (
        "a.json",
        json.dumps(
            {
                "data": [
                    {"id": n, "attributes": {"question": q, "answer": {"text": None, "html": a}}}
                    for n, (q, a) in enumerate(TWO)
                ]
            }
        ),
    ),
    "answers of which a bot says one": (
        "a.json",
        json.dumps({"intents": [{"patterns": [q], "responses": [a, "As I said."]} for q, a in TWO]}),
    ),
    "questions with markup": (
        "a.json",
        json.dumps([{"q": "<b>When</b> are\nyou open?", "a": "Daily."}, {"q": "**How** can I pay?", "a": "By card."}]),
    ),
    "two entries in a row": (
        "a.csv",
        "Question,Answer,Question,Answer\nWhen are you open?,Daily.,How can I pay?,By card.\n",
    ),
    "statements without a header": (
        "a.csv",
        "When are you open?,Daily.\nHow can I pay?,By card.\n",
    ),
    "front matter": (
        "a.md",
        "---\ntitle: FAQ\nfaqs:\n  - question: When are you open?\n    answer: Daily.\n"
        "  - question: How can I pay?\n    answer: By card.\n---",
    ),
    "front matter in TOML": (
        "a.md",
        "+++\ntitle = 'Do you help?'\n+++\n## When are you open?\nDaily.\n## How can I pay?\nBy card.\n",
    ),
    "blocks of MkDocs": (
        "a.md",
        '??? faq "When are you open?"\n    Daily.\n\n???+ question "How can I pay?"\n\n    By card.\n',
    ),
    "components of MDX": (
        "a.mdx",
        "import Box from '@theme/Box';\n\n<AccordionGroup>\n"
        '  <Accordion icon="x" title="When are you open?">\n    Daily.\n'
        "  </Accordion>\n  <Accordion title='How can I pay?'>\n\n    By card.\n\n  </Accordion>\n</AccordionGroup>\n",
    ),
    "shortcodes": (
        "a.md",
        '{{< faq "When are you open?" >}}\nDaily.\n{{</ faq >}}\n\n'
        '{{% faq-item title="How can I pay?" %}}\nBy card.\n{{% /faq-item %}}\n',
    ),
    "spaces before the end of bold": (
        "a.md",
        "1. **When are you open? **\n\n   Daily.\n\n2. **How can I pay? **\n\n   By card.\n",
    ),
    "Windows line ends": (
        "a.md",
        "---\r\ntitle: Do you help?\r\n---\r\n# When are you open?\r\nDaily.\r\n# How can I pay?\r\nBy card.\r\n",
    ),
    "Q without a space": ("a.txt", "Q:When are you open?\nA:Daily.\n\nQ:How can I pay?\nA:By card.\n"),
    "statements in an accordion": (
        "a.html",
        "<details><summary>When are you open?</summary>Daily.</details><details><summary>How can I pay?</summary>"
        "By card.</details><h2>More questions?</h2><p>Call us.<h2>Our shop</h2><p>Fine.",
    ),
    "one question as JSON-LD": (
        "a.html",
        '<script type="application/ld+json">{"@type": "Question", "name": "When?", "acceptedAnswer": {"text": "Now."}}'
        "</script><h2>When are you open?</h2>Daily.<h2>How can I pay?</h2>By card.",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_files_of_other_programs_are_read_for_what_they_mean(shape: str, tmp_path: Path) -> None:
    name, text = SHAPES[shape]
    (tmp_path / name).write_bytes(text.encode())
    assert [(faq.question, faq.answer) for faq in FaqSet.load(tmp_path / name)] == TWO


@pytest.mark.parametrize(
    "text",
    [
        "## When are you open?\nDaily.\n\n{}\n\n## Parking\nBehind us.\n\n{}\n\n## Returns\n14 days.\n\n{}\n",
        "<h2>When are you open?</h2>Daily.<p>{}<h2>Parking</h2>Behind us.<p>{}<h2>Returns</h2>14 days.<p>{}",
        "<dl><dt>When are you open?<dd>Daily.<p>{}<dt>Parking<dd>Behind us.<p>{}<dt>Returns<dd>14 days.<p>{}</dl>",
    ],
)
@pytest.mark.parametrize(
    "stray", ["Was this helpful?\n\nYes", "**Need help?** Call us.", "<a class=ask-question>More?</a>"]
)
def test_a_question_that_is_repeated_in_each_answer_is_no_entry(text: str, stray: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.md" if text[0] == "#" else "a.html")
    path.write_text(text.replace("{}", stray))
    assert [faq.question for faq in FaqSet.load(path)] == ["When are you open?", "Parking", "Returns"]


def test_an_answer_is_never_another_column_than_the_known_one_or_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    row = "When are you open?,Daily.,Say nothing about the holidays to anybody!"
    for names in (
        "question,solution,internal_comment",
        "frage,answer_de,reply to",
        "Question (EN),Frage,Antwort",
        "frage,answer_en,Long text",
    ):
        path.write_text(f"{names}\n{row}\n" if names[0] != "Q" else f"{names}\nWhen are you open?,Wann?,Daily.\n")
        assert [(faq.question, faq.answer) for faq in FaqSet.load(path)] == TWO[:1]
    path.write_text("question,answer_de,answer_en\nWhen?,Jeden Tag in der Woche.,Daily.\n")
    assert [faq.answer for faq in FaqSet.load(path)] == ["Daily."]


TABLES = {
    "a.md": "| Question | Topic | Answer |\n|---|---|---|\n"
    "| Opening hours | Visits | Daily. |\n| Ways to pay | Prices | By card. |\n",
    "a.html": "<h2>Visits</h2><table><tr><th>Question</th><th>Answer</th></tr>"
    "<tr><td>Opening hours</td><td>Daily.</td></tr></table>"
    "<h2>Prices</h2><table><tr><th>Question</th><th>Answer</th></tr>"
    "<tr><td>Ways to pay</td><td>By card.</td></tr></table>",
    "b.html": "<table><tr><th>Section</th><th>Question</th><th>Answer</th></tr>"
    "<tr><td rowspan=2>Visits</td><td>Opening hours</td><td>Daily.</td></tr>"
    "<tr><td>Parking</td><td>Behind us.</td></tr><tr><td>Prices</td><td>Ways to pay</td><td>By card.</td></tr></table>",
}


@pytest.mark.parametrize("name", TABLES)
def test_the_rows_of_a_table_on_a_page_are_entries(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TABLES[name])
    parking = [("Parking", "Behind us.", "Visits")] if name == "b.html" else []
    expected = [("Opening hours", "Daily.", "Visits"), *parking, ("Ways to pay", "By card.", "Prices")]
    assert contents(FaqSet.load(tmp_path / name)) == expected


def write_book(path: Path, sheets: dict[str, list[list[Any]]], merged: tuple[str, ...] = ()) -> None:
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
        for area in merged:
            sheet.merge_cells(area)
    book.save(path)


def test_merged_cells_are_meant_for_all_their_rows_that_have_another(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["Topic", "Question", "Answer"],
        ["Visits", *TWO[0]],
        [None, "Opening times?", None],
        [None] * 3,
    ]
    write_book(tmp_path / "a.xlsx", {"FAQ": [*rows, ["Prices", *TWO[1]]]}, ("A2:A4", "C2:C3"))
    assert [(faq.answer, faq.category) for faq in FaqSet.load(tmp_path / "a.xlsx")] == [
        ("Daily.", "Visits"),
        ("Daily.", "Visits"),
        ("By card.", "Prices"),
    ]


HEADER = ["Question", "Answer"]
BLANK: list[list[Any]] = [[" ", None]] * 9
LONG: list[list[Any]] = [["Id", "Text"], *([f"{n}", "x"] for n in range(9))]


@pytest.mark.parametrize(
    "sheets",
    [
        {"Cover": [["Our FAQ"]], "FAQ": [HEADER, *TWO], "Archive": [HEADER, *TWO, ["Old?", "Yes."]]},
        {"FAQ": [HEADER, *TWO], "Template": [HEADER, *BLANK]},
        {"Log": [["query", "label"], ["hi", "a"], ["hello", "b"]], "FAQ": [HEADER, *TWO]},
        {"Ids": LONG, "FAQ": [["Title", "Body"], *TWO]},
        {"Blank": [["Frage", "Antwort"], *BLANK], "FAQ": [["Frage", "Antwort"], *TWO]},
    ],
)
def test_the_first_sheet_with_the_header_of_an_faq_is_read_or_the_one_with_most_rows(
    sheets: dict[str, list[list[Any]]], tmp_path: Path
) -> None:
    write_book(tmp_path / "a.xlsx", sheets)
    assert [(faq.question, faq.answer) for faq in FaqSet.load(tmp_path / "a.xlsx")] == TWO


SURE: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "front matter with tags of the page": (
        "a.md",
        "---\nhead:\n  - - meta\n    - name: description\n      content: All we know.\n"
        "  - - meta\n    - name: author\n      content: Us.\n---\n## When are you open?\nDaily.\n"
        "## How can I pay?\nBy card.\n",
        TWO,
    ),
    "front matter and more questions below": (
        "a.md",
        "---\nfaq:\n  - question: Really?\n    answer: Yes.\n---\n## When are you open?\nDaily.\n"
        "## How can I pay?\nBy card.\n",
        TWO,
    ),
    "a role in each entry": (
        "a.json",
        json.dumps([{"role": role, "question": q, "answer": a} for role, (q, a) in zip("ab", TWO, strict=True)]),
        TWO,
    ),
    "a sentence that begins like a module": (
        "a.md",
        "## How do I move?\nWith the menu File,\nimport your contacts from Outlook or Gmail.\n## Is it free?\nYes.\n",
        [
            ("How do I move?", "With the menu File,\nimport your contacts from Outlook or Gmail."),
            ("Is it free?", "Yes."),
        ],
    ),
    "details in answers": (
        "a.md",
        "".join(
            f"## {q}\n{a}\n\n<details><summary>{shell}</summary>Run it.</details>\n\n"
            for (q, a), shell in zip(TWO, ("PowerShell", "Bash"), strict=True)
        ),
        [(q, f"{a}\n\n{shell}\n\nRun it.") for (q, a), shell in zip(TWO, ("PowerShell", "Bash"), strict=True)],
    ),
    "details in the only answer": (
        "a.md",
        "## How can I install it?\n\n<details><summary>PowerShell</summary>Run it.</details>\n",
        [("How can I install it?", "PowerShell\n\nRun it.")],
    ),
    "numbered keys in a language": (
        "a.json",
        json.dumps({"en": {"q1": TWO[0][0], "a1": "Daily.", "q2": TWO[1][0], "a2": "By card."}, "de": {"q1": "Wann?"}}),
        TWO,
    ),
    "a question above an accordion of statements": (
        "a.html",
        "<h2>Have questions?</h2><details><summary>Opening hours</summary>Daily.</details>"
        "<details><summary>Payment</summary>By card.</details>",
        [("Opening hours", "Daily."), ("Payment", "By card.")],
    ),
    "classes of what isn't a question": (
        "a.html",
        "".join(f"<h2>{q}</h2><p class=question-meta>asked {n} times</p><p>{a}" for n, (q, a) in enumerate(TWO, 3)),
        [(q, f"asked {n} times\n\n{a}") for n, (q, a) in enumerate(TWO, 3)],
    ),
    "placeholders on a page": (
        "a.md",
        "## When are you open?\nDaily.\n## Where?\nTBD\n## How can I pay?\nBy card.\n",
        TWO,
    ),
    "rows across a table of a page": (
        "a.html",
        "<table><tr><th>Question</th><th>Answer</th></tr><tr><td colspan=2>Visits</td></tr>"
        "<tr><td>Opening hours</td><td>Daily.</td></tr><tr><td colspan=2>Prices</td></tr>"
        "<tr><td>Payment</td><td rowspan=2>By card.</td></tr><tr><td>Cash</td></tr></table>",
        [("Opening hours", "Daily."), ("Payment", "By card.")],
    ),
    "a long header": (
        "a.csv",
        "Please write the question as customers ask it,Please write what we say\n"
        "When are you open?,Daily.\nHow can I pay?,By card.\n",
        TWO,
    ),
    "names with text and language": (
        "a.csv",
        "Question Text (EN),Answer Text (EN),A longer text\nOpening hours,Daily.,Ask us whatever you like.\n",
        [("Opening hours", "Daily.")],
    ),
    "names with another language": (
        "a.csv",
        "answer_de,question_de,Nummer\nTäglich.,Öffnungszeiten,Zimmer 12 im zweiten Stock\n",
        [("Öffnungszeiten", "Täglich.")],
    ),
    "tags that questions are about": (
        "a.json",
        json.dumps(
            {
                "questions": [
                    {"question": "How do I use <b> in HTML?", "answer": "Write &lt;b&gt;text&lt;/b&gt;"},
                    {"question": "When are you<br>open?<p>Also <b>late</b>?</p>", "answer": "No."},
                    {"question": "What is R&amp;B, **kwargs and <br>?", "answer": "<i>This</i>."},
                ]
            }
        ),
        [
            ("How do I use <b> in HTML?", "Write &lt;b&gt;text&lt;/b&gt;"),
            ("When are you open? Also late?", "No."),
            ("What is R&B, **kwargs and <br>?", "<i>This</i>."),
        ],
    ),
}


@pytest.mark.parametrize("case", SURE)
def test_what_is_no_question_or_not_sure_changes_no_entry(case: str, tmp_path: Path) -> None:
    name, text, expected = SURE[case]
    (tmp_path / name).write_text(text)
    assert [(faq.question, faq.answer) for faq in FaqSet.load(tmp_path / name)] == expected


def test_tags_as_characters_are_spoken_and_those_of_json_ld_are_markup(tmp_path: Path) -> None:
    assert plain_text("Write &lt;b&gt;text&lt;/b&gt;") == "Write <b>text</b>"
    data = [
        {"@type": "Question", "name": f"<h3>{n}? ¶</h3>", "acceptedAnswer": {"text": "&lt;p&gt;Yes."}} for n in "ab"
    ]
    (tmp_path / "a.html").write_text(f'<script type="application/ld+json">{json.dumps(data)}</script>')
    assert [(faq.question, faq.answer) for faq in FaqSet.load(tmp_path / "a.html")] == [
        ("a?", "<p>Yes."),
        ("b?", "<p>Yes."),
    ]


def test_a_row_of_two_entries_has_one_category_and_the_id_is_that_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id,Topic,Question,Alternatives,Answer,Question,Answer\nx,Visits,When?,hours,Daily.,Where?,Here.\ny,,Why?,,So.,,\n"
    )
    assert FaqSet.load(tmp_path / "a.csv").entries == (
        Faq("x", "When?", "Daily.", "Visits", ("hours",)),
        Faq("1", "Where?", "Here.", "Visits"),
        Faq("y", "Why?", "So."),
    )


def test_an_entry_with_more_questions_in_its_fields_stays_one(tmp_path: Path) -> None:
    more = {
        "follow_up_question": "And on Sundays?",
        "follow_up_answer": "No.",
        "last_question": "?",
        "last_answer": "!",
    }
    (tmp_path / "a.json").write_text(
        json.dumps({"faqs": [{"id": "a", "question": "When?", "alternatives": ["hours"], "answer": "Daily."} | more]})
    )
    assert FaqSet.load(tmp_path / "a.json").entries == (Faq("a", "When?", "Daily.", "", ("hours",)),)


def test_of_several_languages_without_english_none_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question_de,question_fr,answer_fr,answer_de\nWann?,Quand?,Oui.,Ja.\n")
    with pytest.raises(FaqlabError, match="no questions and answers found"):
        FaqSet.load(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"q1": "When?", "a1": "Daily.", "q2": "How?", "a2": "So.", "q3": "Where?"}, "question no. 3: answer: missing"),
        (
            {
                "questions": [
                    GOOD,
                    {"question": "Where?", "Last updated": "2024", "Created by": "B", "Review date": "May"},
                ]
            },
            "question no. 2: answer: missing",
        ),
        (
            {"de_question": "Wann?", "de_answer": "Ja.", "fr_question": "Quand?", "fr_answer": "Oui."},
            "no questions and",
        ),
        ({"faq": [HEADER, *TWO]}, "no questions and answers found"),
        (
            [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "Daily."}],
            "no questions and answers",
        ),
        (
            [GOOD, *({"question": f"{n}?", "answer": "TBD"} for n in range(9))],
            f"{', '.join(f'question no. {n}' for n in range(2, 7))} and 4 more: answer: missing, or only a placeholder",
        ),
    ],
)
def test_what_may_be_half_an_entry_is_refused(data: Any, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(FaqlabError) as error:
        FaqSet.load(tmp_path / "a.json")
    assert str(error.value).startswith(f"{tmp_path / 'a.json'}: {problem}")


def test_what_stands_across_a_table_is_a_category_and_a_row_without_an_answer_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, text, expected = SURE["rows across a table of a page"]
    (tmp_path / name).write_text(text)
    assert contents(FaqSet.load(tmp_path / name)) == [
        (*pair, topic) for pair, topic in zip(expected, ("Visits", "Prices"), strict=True)
    ]
    assert "1 left out ('Cash', …)" in caplog.text


@pytest.mark.parametrize("answer", ["", "TBD", "n/a", "-", "coming soon", "#REF!"])
def test_a_row_without_an_answer_is_named_by_its_line(answer: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'question,answer\nWhen?,"Daily\nor so."\n\nWhere?,{answer}\n')
    with pytest.raises(FaqlabError, match="line 5: answer: missing, or only a placeholder; expected"):
        FaqSet.load(tmp_path / "a.csv")


def test_an_object_that_is_one_entry_has_no_category_from_its_key(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"hours": {"question": "When?", "answer": "Daily."}}))
    assert FaqSet.load(tmp_path / "a.json").entries == (Faq("0", "When?", "Daily."),)


def test_the_visible_sheet_with_a_header_is_read_without_its_title_and_errors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    book = Workbook()
    book.active.title, old, sheet = "Cover", book.create_sheet("Old"), book.create_sheet("Now")
    book["Cover"].append(["Our FAQ"])
    old.sheet_state = "hidden"
    old.append(["question", "answer"])
    for row in (["Our FAQ"], ["Question", "Answer", "Topic"], *(([*pair, "#N/A"]) for pair in TWO)):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    assert [(faq.question, faq.answer, faq.category) for faq in FaqSet.load(tmp_path / "a.xlsx")] == [
        (*p, "") for p in TWO
    ]
    assert caplog.messages[0] == f"{tmp_path / 'a.xlsx'}: only the sheet 'Now' is read, not 'Cover', 'Old'."


def test_an_entry_in_json_keeps_its_text_and_only_questions_below_it_are_entries(tmp_path: Path) -> None:
    more = [
        {"title": TWO[1][0], "body": TWO[1][1]},
        {"question": "Why?", "id": 7},
        {"name": "a.pdf", "text": "A form."},
    ]
    (tmp_path / "a.json").write_text(json.dumps([{"title": TWO[0][0], "body": TWO[0][1], "related": more}]))
    assert FaqSet.load(tmp_path / "a.json").entries == (Faq("0", *TWO[0]), Faq("1", *TWO[1]))


def test_questions_that_are_left_out_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "## When are you open?\nDaily.\n## Paying\n### How?\nNow.\n### Where?\nHere.\n### Why?\n### Who?\nTBD"
    )
    assert [faq.question for faq in FaqSet.load(path)] == ["How?", "Where?"]
    assert caplog.messages[0].endswith("; 3 left out ('When are you open?', …): no text below, or a level above.")


@pytest.mark.parametrize(
    "data",
    [
        {"title": "Our FAQ", "topics": [{"name": "visits", "faqs": [{"q": "When?", "a": "Daily."}]}]},
        {"questions": {"visits": [{"question": "When?", "answer": "Daily."}]}},
        {"faqs": {"visits": {"When?": "Daily."}}},
        [{"QUESTION": "When?", "Answer Text": "Daily.", "class": "visits", "id": None}],
    ],
)
def test_the_category_is_a_field_or_what_the_entry_is_in(data: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert FaqSet.load(tmp_path / "a.json").entries == (Faq("0", "When?", "Daily.", "visits"),)


@pytest.mark.parametrize(
    "row",
    [
        {"id": 7.0, "question": ["When?", "opening hours"], "answer": "Daily.", "alternatives": "times | hours"},
        {
            "id": "7.0",
            "Question 1": "When?",
            "Question 2": "opening hours",
            "Answer": "Daily.",
            "variants": "times\nhours",
        },
        {"id": 7, "utterances": ["When?", "opening hours", "times", "hours"], "response": "Daily.", "category": "NaN"},
    ],
)
def test_phrasings_stand_in_lists_cells_or_columns(row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([row]))
    expected = (Faq("7", "When?", "Daily.", "", ("opening hours", "times", "hours")),)
    assert FaqSet.load(tmp_path / "a.json").entries == expected
    if all(isinstance(cell, str) for cell in row.values()):
        pd.DataFrame([row]).to_csv(tmp_path / "a.csv", index=False)
        assert FaqSet.load(tmp_path / "a.csv").entries == expected


def test_markup_stays_in_answers_is_not_embedded_and_single_words_of_yaml_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        "<h2>How?</h2><p class=x>See <a class=y href='https://x.example/a'>our\n page</a>:<ul><li>one<li>two</ul>"
        "<h3>And</h3><pre>a\n  b</pre><h2>Where?</h2><p>R&amp;B &lt;hall&gt;<br>first floor<p>No. 5"
    )
    how, where = FaqSet.load(path)
    assert '<a href="https://x.example/a">our\n page</a>' in how.answer
    assert plain_text(how.answer) == "See our page:\none.\ntwo.\nAnd.\na b."
    assert VIEWS["answer"](how) == ["See our page: one. two. And. a b."]
    assert where.answer == "R&B <hall>\nfirst floor\n\nNo. 5"
    (tmp_path / "a.yaml").write_text("- q: Do you take cards?\n  a: yes\n- q: Since when?\n  a: 09:30\n")
    assert [faq.answer for faq in FaqSet.load(tmp_path / "a.yaml")] == ["yes", "09:30"]


def test_import_writes_what_every_command_reads(cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "mine.json"
    run = cli("import", FIXTURES / "faq/headings.md", "-o", out)
    assert run.out == f"Written to {out}. To use it, set FAQLAB_FAQS={out} or name it with --faqs.\n"
    assert caplog.messages == [f"10 entries from {FIXTURES / 'faq/headings.md'}: questions are the ### headings."]
    assert contents(FaqSet.load(out)) == contents(OURS)
    assert [*json.loads(out.read_text())["questions"][0]] == ["id", "question", "answer", "category"]
    assert_one_sentence(cli("import", FIXTURES / "faq/bold.md", "-o", out), "can't be written (File exists); name a")
    assert_one_sentence(cli("import", FIXTURES / "faq/bold.md", "-o", tmp_path / "mine.csv"), "only JSON is written")
    run = cli("ask", "can I hire climbing shoes", "--faqs", FIXTURES / "faq/details.html", "--json")
    assert run.json["hits"][0]["question"] == "Can I rent shoes?"
