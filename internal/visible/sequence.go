package visible

import "unicode"

// mostMarks bounds the combining marks on one character: more of them cover the
// lines around it.
const mostMarks = 8

// sequence decides which of the characters that [hides] names are needed where
// they are, so that text in every script and emoji stay readable. It keeps
//
//   - ZWJ between two emoji, and a variation selector behind an emoji or in a keycap;
//   - the tags of the three flags that Unicode recommends;
//   - ZWJ and ZWNJ between letters of one script whose letters join, and behind a virama;
//   - a zero-width space between letters of one script that is written without spaces;
//   - a variation selector behind a Han or Mongolian letter.
//
// One such character may stand between two visible ones, so that they cannot
// carry text of their own. What is not kept is for the caller to escape.
type sequence struct {
	base   rune // the last character that is drawn; 0 if none, or if an escape follows it
	last   rune
	marks  int
	chosen bool   // base has a variation selector
	held   []rune // the next character decides whether they are kept
}

// next takes a character and calls emit for each character that is decided, in
// order.
func (s *sequence) next(r rune, emit func(r rune, keep bool)) {
	if len(s.held) > 0 && isTag(s.held[0]) && isTag(r) {
		s.held = append(s.held, r)
		if r == tagEnd || len(s.held) > len("gbeng") {
			s.release(subdivision(s.held), emit)
		}
		return
	}
	if len(s.held) > 0 {
		s.release(s.joins(s.held[0], r), emit)
	}
	switch {
	case !hides(r):
		s.draw(r, emit)
	case s.kept(r):
		emit(r, true)
		s.last = r
	case s.open(r):
		s.held = append(s.held, r)
	default:
		emit(r, false)
		s.reset()
	}
}

// end decides what is held at the end of a text.
func (s *sequence) end(emit func(r rune, keep bool)) {
	if len(s.held) > 0 {
		s.release(false, emit)
	}
	s.reset()
}

func (s *sequence) reset() { *s = sequence{held: s.held[:0]} }

func (s *sequence) release(keep bool, emit func(r rune, keep bool)) {
	for _, r := range s.held {
		emit(r, keep)
		s.last = r
	}
	s.held = s.held[:0]
	if !keep {
		s.reset()
	}
}

// draw takes a character that is drawn.
func (s *sequence) draw(r rune, emit func(r rune, keep bool)) {
	if r >= 0x300 && unicode.In(r, unicode.Mn, unicode.Me) {
		s.marks++
		emit(r, s.marks <= mostMarks)
		s.last = r
		if joining(r) != nil || unspaced(r) != nil {
			s.base = r
		}
		return
	}
	emit(r, true)
	s.base, s.last, s.marks, s.chosen = r, r, 0, false
}

// kept reports whether a character is needed behind what precedes it.
func (s *sequence) kept(r rune) bool {
	switch {
	case r == zwj || r == zwnj:
		return virama(s.last)
	case s.chosen:
		return false
	case r == textStyle || r == emojiStyle:
		s.chosen = emoji(s.last)
	case r >= 0xfe00 && r <= 0xfe02, r >= 0xe0100 && r <= 0xe011f:
		s.chosen = unicode.Is(unicode.Han, s.last)
	case r >= 0x180b && r <= 0x180f:
		s.chosen = unicode.Is(unicode.Mongolian, s.last)
	}
	return s.chosen
}

// open reports whether what follows a character decides whether it is needed.
func (s *sequence) open(r rune) bool {
	if s.last == zwj || s.last == zwnj || s.last == zwsp {
		return false
	}
	switch {
	case r == zwj && emoji(s.base):
		return s.last == s.base || s.chosen
	case r == zwj || r == zwnj:
		return joining(s.base) != nil
	case r == zwsp:
		return unspaced(s.base) != nil
	case r == emojiStyle:
		return s.last >= '0' && s.last <= '9' || s.last == '#' || s.last == '*'
	}
	return s.last == blackFlag && isTag(r)
}

// joins reports whether held is needed between base and r.
func (s *sequence) joins(held, r rune) bool {
	switch {
	case held == emojiStyle:
		return r == keycap
	case held == zwj && emoji(s.base):
		return emoji(r)
	case held == zwj || held == zwnj:
		return joining(s.base) == joining(r)
	case held == zwsp:
		return unspaced(s.base) == unspaced(r)
	}
	return false
}
