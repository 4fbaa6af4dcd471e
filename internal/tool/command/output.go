package command

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxLine bounds how much of a line is buffered until its end, in bytes.
const maxLine = 8 << 10

var errTooMuch = errors.New("the program prints too much")

// stdout stores a program's output, up to a limit, and prints its lines as they
// arrive.
type stdout struct {
	limit int               // bytes
	print func(text string) // may be nil
	stop  func()            // ends the program

	buf   bytes.Buffer
	shown int // bytes of buf that were printed
	over  bool
}

// Write implements [io.Writer]. Beyond the limit it stores nothing and
// terminates the program.
func (s *stdout) Write(p []byte) (int, error) {
	if s.over || s.buf.Len()+len(p) > s.limit {
		s.over = true
		s.stop()
		return 0, errTooMuch
	}
	s.buf.Write(p)
	s.show(false)
	return len(p), nil
}

// show prints the complete lines that were not printed yet, or everything.
func (s *stdout) show(all bool) {
	if s.print == nil {
		return
	}
	rest := s.buf.Bytes()[s.shown:]
	end := bytes.LastIndexByte(rest, '\n') + 1
	if all {
		end = len(rest)
	} else if len(rest)-end > maxLine {
		end = wholeRunes(rest)
	}
	if end > 0 {
		s.print(repair(rest[:end]))
		s.shown += end
	}
}

// wholeRunes returns the length of the prefix of p that ends with a complete
// rune.
func wholeRunes(p []byte) int {
	for i := 1; i <= min(len(p), utf8.UTFMax); i++ {
		if tail := p[len(p)-i:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				break
			}
			return len(p) - i
		}
	}
	return len(p)
}

// tail stores the end of a program's output.
type tail struct {
	end []byte
	cut bool
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p[max(0, len(p)-tailBytes):]...)
	if over := len(t.end) - tailBytes; over > 0 || len(p) > tailBytes {
		t.cut = true
		t.end = append(t.end[:0], t.end[max(0, over):]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	text := strings.TrimSpace(repair(t.end))
	if t.cut {
		return "…" + text
	}
	return text
}

// repair replaces invalid UTF-8 by U+FFFD.
func repair(p []byte) string { return strings.ToValidUTF8(string(p), "\uFFFD") }
