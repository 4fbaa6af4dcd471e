package visible

import "unicode"

// hides reports whether a character is drawn as nothing, or changes how the
// characters around it are drawn: controls, format characters (bidirectional
// controls, zero-width characters, tags) and everything else that is
// default-ignorable (UAX #44). Whether one of them is needed where it is, the
// sequence decides.
func hides(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	case r < 0xad:
		return false
	case unicode.Is(unicode.Cf, r):
		// These have a shape of their own: number signs and hieroglyph joiners.
		return !unicode.Is(unicode.Prepended_Concatenation_Mark, r) && (r < 0x13430 || r > 0x1343f)
	}
	return unicode.In(r, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

const (
	zwsp       = '\u200b'
	zwnj       = '\u200c'
	zwj        = '\u200d'
	textStyle  = '\ufe0e'
	emojiStyle = '\ufe0f'
	keycap     = '\u20e3'
	blackFlag  = '\U0001f3f4'
	tagEnd     = '\U000e007f'
)

func isTag(r rune) bool { return r >= 0xe0020 && r <= 0xe007f }

// subdivision reports whether tags behind a black flag make one of the flags
// that Unicode recommends (emoji-sequences.txt): England, Scotland and Wales.
func subdivision(tags []rune) bool {
	var code []rune
	for _, r := range tags {
		code = append(code, r-0xe0000)
	}
	switch string(code) {
	case "gbeng\x7f", "gbsct\x7f", "gbwls\x7f":
		return true
	}
	return false
}

// emoji reports whether a character can be part of an emoji sequence:
// Extended_Pictographic (emoji-data.txt) and the skin tones.
func emoji(r rune) bool {
	switch {
	case r < 0x2000:
		return r == 0xa9 || r == 0xae
	case r >= 0x1f000 && r <= 0x1faff:
		return r < 0x1f1e6 || r > 0x1f1ff // flags of countries need no joiner
	case r >= 0x1fc00 && r <= 0x1fffd:
		return true
	case r >= 0x2600 && r <= 0x27bf:
		return true
	case r >= 0x2300 && r <= 0x23ff:
		return r == 0x231a || r == 0x231b || r == 0x2328 || r == 0x2388 || r == 0x23cf || r >= 0x23e9 && r <= 0x23f3 || r >= 0x23f8 && r <= 0x23fa
	case r >= 0x2190 && r <= 0x21ff:
		return r >= 0x2194 && r <= 0x2199 || r == 0x21a9 || r == 0x21aa
	}
	switch r {
	case 0x203c, 0x2049, 0x2122, 0x2139, 0x24c2, 0x25aa, 0x25ab, 0x25b6, 0x25c0, 0x25fb, 0x25fc, 0x25fd, 0x25fe,
		0x2934, 0x2935, 0x2b05, 0x2b06, 0x2b07, 0x2b1b, 0x2b1c, 0x2b50, 0x2b55, 0x3030, 0x303d, 0x3297, 0x3299:
		return true
	}
	return false
}

// joining returns the script of a letter or a mark if ZWJ and ZWNJ inside its
// words change their shape (UAX #31, section 2.3.1); else nil.
func joining(r rune) *unicode.RangeTable {
	if r < 0x600 {
		return nil
	}
	for _, script := range []*unicode.RangeTable{
		unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Nko, unicode.Mandaic, unicode.Adlam, unicode.Hanifi_Rohingya, unicode.Phags_Pa,
		unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada,
		unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar, unicode.Balinese, unicode.Javanese, unicode.Sundanese, unicode.Chakma,
	} {
		if unicode.Is(script, r) {
			return script
		}
	}
	return nil
}

// unspaced returns the script of a letter or a mark if its words are separated
// by zero-width spaces; else nil.
func unspaced(r rune) *unicode.RangeTable {
	if r < 0xe00 {
		return nil
	}
	for _, script := range []*unicode.RangeTable{unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar} {
		if unicode.Is(script, r) {
			return script
		}
	}
	return nil
}

// virama reports whether a sign removes the vowel of an Indic consonant. A
// joiner behind it selects the consonant's form, also at the end of a word.
func virama(r rune) bool {
	switch r {
	case 0x94d, 0x9cd, 0xa4d, 0xacd, 0xb4d, 0xbcd, 0xc4d, 0xccd, 0xd4d, 0xdca, 0x1039, 0x17d2:
		return true
	}
	return false
}
