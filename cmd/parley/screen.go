package main

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

// screen keeps a conversation's output and the questions to a person apart. Output
// goes to standard output, questions to standard error; on a terminal both are the
// same place.
type screen struct {
	out, err io.Writer

	mu   sync.Mutex
	open []byte // the line that waits for an answer, so far
	// apart means that something was shown below the open line, torn that it
	// ended in the middle of a line.
	apart, torn bool
}

func newScreen() *screen { return &screen{out: stdout(), err: stderr()} }

// show calls fn, which writes to s, and repeats the open question if fn wrote
// something.
func (s *screen) show(fn func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := fn()
	if s.apart {
		s.apart = false
		if s.torn {
			_, _ = io.WriteString(s.err, "\n") // there is nowhere else to report it
		}
		_, _ = s.err.Write(s.open)
	}
	return err
}

// Write implements [io.Writer] for the function that show calls.
func (s *screen) Write(p []byte) (int, error) {
	if len(s.open) > 0 && !s.apart && len(p) > 0 {
		s.apart = true
		_, _ = io.WriteString(s.err, "\n")
	}
	s.torn = len(p) > 0 && p[len(p)-1] != '\n'
	return s.out.Write(p)
}

// asking writes a part of a question.
func (s *screen) asking(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
		s.open = append(s.open[:0], p[i+1:]...)
	} else {
		s.open = append(s.open, p...)
	}
	return s.err.Write(p)
}

// answered records that the person ended the open line.
func (s *screen) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = s.open[:0]
}

// callOff ends the open line, and prints the reason.
func (s *screen) callOff(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) > 0 {
		s.open = s.open[:0]
		_, _ = io.WriteString(s.err, "\n")
	}
	if why != "" {
		_, _ = io.WriteString(s.err, why+"\n")
	}
}

// logs writes the process's log between output and questions.
type logs struct{ *screen }

// Write implements [io.Writer].
func (l logs) Write(p []byte) (int, error) {
	if !l.mu.TryLock() {
		return stderr().Write(p) // an editor may have the screen for long
	}
	defer l.mu.Unlock()
	if len(l.open) == 0 {
		return l.err.Write(p)
	}
	text := slices.Concat([]byte("\n"), p, l.open)
	if _, err := l.err.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}
