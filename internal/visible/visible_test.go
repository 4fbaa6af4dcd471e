package visible

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// readable are texts of people that must stay as they are.
func readable() map[string]string {
	return map[string]string{
		"family of emoji":                  "👨\u200d👩\u200d👧\u200d👦 👩🏽\u200d💻 🏳️\u200d🌈 🏴\u200d☠️ ❤️\u200d🔥 🧑\u200d🤝\u200d🧑 🤷🏾\u200d♀️",
		"emoji with a style":               "❤️ ☎︎ ©️ 1️⃣ #️⃣ *️⃣",
		"flags":                            "🇳🇴 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f 🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
		"Persian with ZWNJ":                "می\u200cخواهم کتاب\u200cها را",
		"Arabic with vowels":               "بِسْمِ ٱللَّٰهِ ٱلرَّحْمَٰنِ",
		"Hebrew with points and accents":   "בְּרֵאשִׁ֖ית בָּרָ֣א אֱלֹהִ֑ים",
		"Hindi with ZWJ and ZWNJ":          "क्\u200dष और क्\u200cष हैं",
		"Sinhala":                          "ශ්\u200dරී ලංකාව",
		"Malayalam with an old chillu":     "അവന്\u200d പറഞ്ഞു",
		"Bengali":                          "র\u200d্যাব",
		"Khmer with zero-width spaces":     "ភាសា\u200bខ្មែរ\u200bជា\u200bភាសា",
		"Thai with a zero-width space":     "สวัสดี\u200bครับ",
		"Japanese with an ideographic VS":  "葛󠄀城市 漢字　かな",
		"Mongolian":                        "ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ᠋",
		"Vietnamese, Greek, Russian, Thai": "Tiếng Việt ελληνικά русский ภาษาไทย\tx\ny",
		"decomposed accents":               "e\u0301 o\u0308\u0304",
		"Tibetan":                          "རྒྱུད་ ཧཱུྃ",
		"a number sign of Arabic":          "\u0600١٢",
		"French spaces":                    "«\u00a0Oui\u202f!\u00a0»",
		"symbols of a terminal font":       "\ue0b0 ─│┌ ⣿",
	}
}

func TestReadableTextStaysAsItIs(t *testing.T) {
	for name, text := range readable() {
		t.Run(name, func(t *testing.T) {
			if got := String(text); got != text {
				t.Errorf("got %q, want %q", got, text)
			}
			raw, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(JSON(nil, raw)); got != string(raw) {
				t.Errorf("as JSON got %s, want %s", got, raw)
			}
		})
	}
}

func TestHiddenTextIsEscaped(t *testing.T) {
	for _, tc := range []struct{ name, text, want, json string }{
		{"C1", "\u009b2J", "<U+009B>2J", `\u009b2J`},
		{"an escape sequence", "\x1b]8;;http://evil\x07", "^[]8;;http://evil^G", ""},
		{"bidirectional overrides, embeddings, isolates", "a\u202eb\u2066c\u2069\u202c", "a<U+202E>b<U+2066>c<U+2069><U+202C>", `a\u202eb\u2066c\u2069\u202c`},
		{"bidirectional marks", "\u05d0\u200e\u200f\u061c", "\u05d0<U+200E><U+200F><U+061C>", "\u05d0" + `\u200e\u200f\u061c`},
		{"zero width", "pass\u200bword\u2060\ufeff\u00ad\u034f", "pass<U+200B>word<U+2060><U+FEFF><U+00AD><U+034F>", `pass\u200bword\u2060\ufeff\u00ad\u034f`},
		{"joiners between Latin letters", "a\u200db\u200cc", "a<U+200D>b<U+200C>c", `a\u200db\u200cc`},
		{"a joiner between scripts", "क\u200db", "क<U+200D>b", `क\u200db`},
		{"a second joiner", "م\u200c\u200cم", "م<U+200C><U+200C>م", `م\u200c\u200cم`},
		{"a joiner at the end", "م\u200c", "م<U+200C>", `م\u200c`},
		{"a joiner behind an emoji and before a letter", "👩\u200dx", "👩<U+200D>x", `👩\u200dx`},
		{"tags (ASCII smuggling)", "Hi\U000e0041\U000e0042", "Hi<U+E0041><U+E0042>", `Hi\udb40\udc41\udb40\udc42`},
		{"tags behind a flag that no flag has", "🏴\U000e0067\U000e0062\U000e0078\U000e007f", "🏴<U+E0067><U+E0062><U+E0078><U+E007F>", `🏴\udb40\udc67\udb40\udc62\udb40\udc78\udb40\udc7f`},
		{"tags behind a flag without an end", "🏴\U000e0067x", "🏴<U+E0067>x", `🏴\udb40\udc67x`},
		{"bytes in variation selectors", "😀\ufe0f\ufe0e\U000e0150", "😀\ufe0f<U+FE0E><U+E0150>", "😀\ufe0f" + `\ufe0e\udb40\udd50`},
		{"a variation selector behind a letter", "a\ufe0f", "a<U+FE0F>", `a\ufe0f`},
		{"a variation selector behind a digit", "1\ufe0fx", "1<U+FE0F>x", `1\ufe0fx`},
		{"fillers", "\u3164\u115f\u1160\uffa0", "<U+3164><U+115F><U+1160><U+FFA0>", `\u3164\u115f\u1160\uffa0`},
		{"annotations", "\ufff9a\ufffb", "<U+FFF9>a<U+FFFB>", `\ufff9a\ufffb`},
		{"marks that cover other lines", "e" + strings.Repeat("\u0335", 9), "e" + strings.Repeat("\u0335", 8) + "<U+0335>", "e" + strings.Repeat("\u0335", 8) + `\u0335`},
		{"CR", "safe\rforged", "safe\nforged", ""},
		{"CR LF", "a\r\nb", "a\nb", ""},
		{"DEL and NUL", "\x7f\x00", "^?^@", ""},
		{"DEL in JSON", "\x7f", "^?", `\u007f`},
		{"line separators", "a\u2028b\u2029", "a\nb\n", `a\u2028b\u2029`},
		{"broken UTF-8", "a\xffb\xc3", "a\uFFFDb\uFFFD", `a\ufffdb\ufffd`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := String(tc.text); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got := string(JSON(nil, []byte(tc.text))); tc.json != "" && got != tc.json {
				t.Errorf("as JSON got %s, want %s", got, tc.json)
			}
		})
	}
}

func TestWhatPassesForASCIIIsSeenBeforeADecision(t *testing.T) {
	for _, tc := range []struct{ name, raw, want string }{
		{"a Cyrillic letter in a Latin word", `{"to":"p\u0430ypal.com"}`, `{"to":"p\u0430ypal.com"}`},
		{"the same, not as an escape", "{\"to\":\"p\u0430ypal.com\"}", `{"to":"p\u0430ypal.com"}`},
		{"a word of lookalikes in a host", "{\"to\":\"\u0430\u0440\u0440\u04cf\u0435.com\"}", `{"to":"\u0430\u0440\u0440\u04cf\u0435.com"}`},
		{"a word of lookalikes alone", "{\"to\":\"\u0440\u0430\u0443\"}", `{"to":"\u0440\u0430\u0443"}`},
		{"a slash that is none", "{\"u\":\"https://bank.com\u2044@evil.com\"}", `{"u":"https://bank.com\u2044@evil.com"}`},
		{"a semicolon that is none", "{\"c\":\"ls\u037e rm\"}", `{"c":"ls\u037e rm"}`},
		{"a mathematical letter", "{\"c\":\"\U0001d5ba\"}", `{"c":"\ud835\uddba"}`},
		{"Russian stays", `{"t":"Привет, оса! Файл.txt, дом 5а"}`, `{"t":"Привет, оса! Файл.txt, дом 5а"}`},
		{"Greek stays", `{"t":"Καλημέρα, το"}`, `{"t":"Καλημέρα, το"}`},
		{"Chinese beside Latin stays", `{"t":"使用Go，然后：卡拉OK（好）"}`, `{"t":"使用Go，然后：卡拉OK（好）"}`},
		{"French and English stay", `{"t":"l’été — don’t “go”, naïve 10–20"}`, `{"t":"l’été — don’t “go”, naïve 10–20"}`},
		{"units stay", `{"t":"5 kΩ, 3 µm, 4 Å"}`, `{"t":"5 kΩ, 3 µm, 4 Å"}`},
		{"an escape is no part of a word", `{"t":"\nсосна \u000aель"}`, `{"t":"\nсосна \u000aель"}`},
		{"Persian and emoji stay", "{\"t\":\"می\u200cخواهم 👩\u200d💻\"}", "{\"t\":\"می\u200cخواهم 👩\u200d💻\"}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Exact(tc.raw); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// odd are pieces of which texts are made that try to hide something.
func odd() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"\r", "\n", "\x1b[", "é", "\u2028", "\u009b", "a\t", "\u2066", "\u200d", "\u200c", "\u200b", "\ufe0f", "👩", "🏴", "\U000e0067", "\U000e007f",
		"م", "क", "्", "1", "\u20e3", "漢", "\U000e0100", "\u0335", "ខ", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
	}))
}

func TestTextInPiecesIsRewrittenAsAWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Join(rapid.SliceOf(odd()).Draw(rt, "text"), "")
		var in Text
		var got []byte
		for piece := range slices.Chunk([]rune(text), rapid.IntRange(1, 5).Draw(rt, "size")) {
			got = in.Append(got, string(piece))
		}
		if got, want := string(in.End(got)), String(text); got != want {
			rt.Fatalf("%q is %q at once and %q in pieces", text, want, got)
		}
	})
}

func TestAWriterPassesWhatTextPrintsPieceByPiece(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var out bytes.Buffer
		w := &Writer{W: &out, Own: []string{"\x1b[1m", "\x1b[0m"}}
		var in Text
		var want []byte
		for _, piece := range rapid.SliceOf(odd()).Draw(rt, "pieces") {
			clean := in.Append(nil, piece)
			want = append(want, clean...)
			if _, err := w.Write(clean); err != nil {
				rt.Fatal(err)
			}
		}
		if out.String() != string(want) {
			rt.Fatalf("%q became %q", want, out.String())
		}
	})
	var out bytes.Buffer
	w := &Writer{W: &out, Own: []string{"\x1b[1m", "\x1b[0m"}}
	if _, err := w.Write([]byte("\x1b[1mbold\x1b[0m \x1b[2J\x1b[8m\u202e")); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[1mbold\x1b[0m ^[[2J^[[8m<U+202E>"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// seen fails if a text has a character that is drawn as nothing where no script
// and no emoji needs it. It knows less than the code does: it looks at neighbours.
func seen(t *testing.T, shown string) {
	t.Helper()
	runes := []rune(shown)
	for i, r := range runes {
		if !hides(r) || r == '\n' || r == '\t' {
			continue
		}
		before := rune(0)
		if i > 0 {
			before = runes[i-1]
		}
		if before < 0x80 && !(r == emojiStyle && before != 0) || r < 0xa0 || isBidi(r) || hides(before) && before != emojiStyle && !isTag(before) && before != textStyle && r != zwj {
			t.Fatalf("%q is shown, where %U cannot be seen", shown, r)
		}
	}
}

func isBidi(r rune) bool {
	return r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

func FuzzText(f *testing.F) {
	for _, text := range readable() {
		f.Add(text)
	}
	f.Add("\x1b]8;;\x07\u009b\u202e\u200d\U000e0041\r\xff🏴\U000e0067")
	f.Fuzz(func(t *testing.T, text string) {
		shown := String(text)
		seen(t, shown)
		if !utf8.ValidString(shown) {
			t.Fatalf("%q is shown as %q", text, shown)
		}
		if again := String(shown); again != shown {
			t.Fatalf("%q is shown as %q, and that as %q", text, shown, again)
		}
	})
}

// FuzzJSON: the output has the same meaning as the input, and all of it is
// visible.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a\u202e":"\ud83d\udc4d \\u0072 \u0022","b":[1e3,"\ud83d"]}`))
	f.Add([]byte("{\"\u202e\":\"\u200b\U000e0041\"}"))
	f.Add([]byte(`["\\","\u005c\u0022","\u005Cn"]`))
	f.Add([]byte("{\"to\":\"p\u0430ypal\u2044x\", \"b\":\"\\n\u0430b\u200d\"}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want any
		if json.Unmarshal(raw, &want) != nil || !bytes.Equal(bytes.ToValidUTF8(raw, nil), raw) {
			return
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			t.Fatal(err)
		}
		for name, rewrite := range map[string]func(string) string{"JSON": func(s string) string { return string(JSON(nil, []byte(s))) }, "Exact": Exact} {
			var got any
			shown := rewrite(compact.String())
			if err := json.Unmarshal([]byte(shown), &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %q is shown as %q: %v\n got %#v\nwant %#v", name, raw, shown, err, got, want)
			}
			seen(t, shown)
			if again := rewrite(shown); again != shown {
				t.Fatalf("%s: %q is shown as %q, and that as %q", name, raw, shown, again)
			}
		}
	})
}
