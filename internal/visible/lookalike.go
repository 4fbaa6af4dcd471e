package visible

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// lookalike reports whether a character passes for one of ASCII. The list is a
// part of confusables.txt (UTS #39): letters of scripts that share shapes with
// Latin, and punctuation that gives a path, an address or a command its structure.
func lookalike(r rune) bool {
	switch {
	case r < 0x80:
		return false
	case r >= 0x1d400 && r <= 0x1d7ff, r >= 0x2160 && r <= 0x217f, r >= 0xff21 && r <= 0xff3a, r >= 0xff41 && r <= 0xff5a:
		return true // mathematical letters, Roman numerals, full-width letters
	case unicode.In(r, unicode.Cherokee, unicode.Lisu, unicode.Deseret):
		return true
	}
	return strings.ContainsRune(""+
		"аеорсухѕіјһԁԛԝӏгпьвЬѵѡҽАВЕЅІЈКМНОРСТУХҮԌԚԜӀѴЗ"+ // Cyrillic
		"αιονρτυωϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺ"+ // Greek
		"ահոսցօզքՏՍՕ"+ // Armenian
		"ɑɡɩʏᴏᴄᴠᴡᴢꜱꮪℓℊꞁǀǃ"+ // Latin
		"⁄∕⧸⟋／․‥‧．﹒‐‑‒−﹣⁃‚\u037e꞉∶ː։׃﹕∣❘⏐∗⁎﹨∖⧵⧹", r)
}

// misleads reports whether a script shares so many shapes with Latin that one
// word of it passes for a Latin one.
func misleads(r rune) bool {
	return r >= 0x80 && unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Lisu, unicode.Deseret)
}

// exposed writes lookalikes in JSON as escapes where they could mislead:
//
//   - in a word that also has ASCII letters (UTS #39, mixed scripts);
//   - in a word of nothing but lookalikes, if ASCII letters are next to it without
//     a space between them, as in a host name, or if the text has no word of that
//     script that shows which script it is (whole-script confusables);
//   - punctuation with ASCII letters before or behind it, without a space.
//
// So a sentence in Russian or Greek stays as it is.
func exposed(s string) string {
	if !strings.ContainsFunc(s, lookalike) {
		return s
	}
	plain := strings.ContainsFunc(s, func(r rune) bool { return misleads(r) && unicode.IsLetter(r) && !lookalike(r) })
	out := make([]byte, 0, len(s)+16)
	for _, t := range tokens(s) {
		if t.separator {
			out = append(out, t.text...)
			continue
		}
		out = t.appendExposed(out, plain)
	}
	return string(out)
}

// token is a run of characters without a space, or what separates two.
type token struct {
	text      string
	separator bool
}

// tokens splits JSON at spaces, quotes and escapes.
func tokens(s string) (all []token) {
	from := 0
	cut := func(at, size int) {
		if at > from {
			all = append(all, token{text: s[from:at]})
		}
		all = append(all, token{s[at : at+size], true})
		from = at + size
	}
	for i := 0; i < len(s); {
		size := 1
		switch {
		case s[i] == '\\' && i+1 < len(s):
			size = 2
			if _, n := unescape(s[i:]); n > 0 {
				size = n
			}
			cut(i, size)
		case s[i] == ' ' || s[i] == '\n' || s[i] == '"':
			cut(i, 1)
		}
		i += size
	}
	if from < len(s) {
		all = append(all, token{text: s[from:]})
	}
	return all
}

// appendExposed appends a token; plain reports whether the text shows which
// script its words are in.
func (t token) appendExposed(dst []byte, plain bool) []byte {
	ascii := strings.ContainsFunc(t.text, asciiLetter)
	for s := t.text; s != ""; {
		r, size := utf8.DecodeRuneInString(s)
		if !inWord(r) {
			if lookalike(r) && ascii {
				dst = appendUnits(dst, r)
			} else {
				dst = append(dst, s[:size]...)
			}
			s = s[size:]
			continue
		}
		end := strings.IndexFunc(s, func(r rune) bool { return !inWord(r) })
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		s = s[end:]
		mixed := strings.ContainsFunc(word, asciiLetter)
		only := !strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) && !lookalike(r) })
		expose := mixed || only && (ascii || !plain)
		for _, r := range word {
			if expose && lookalike(r) {
				dst = appendUnits(dst, r)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		}
	}
	return dst
}

func inWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r) || hides(r)
}

func asciiLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// RightToLeft reports whether a text has letters that are written from right to
// left. A terminal that applies UAX #9 may then show what is beside them in another
// order than that of the text, without any control character.
func RightToLeft(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r >= 0x590 && unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Samaritan, unicode.Mandaic,
			unicode.Adlam, unicode.Hanifi_Rohingya, unicode.Mende_Kikakui, unicode.Phoenician, unicode.Imperial_Aramaic, unicode.Old_South_Arabian)
	})
}
