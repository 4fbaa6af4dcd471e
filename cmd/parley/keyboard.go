package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// keyboard reads the lines that a person types. A read of a terminal cannot be
// cancelled: an abandoned one is left to the next reader, or to the end of the
// process. It is for one reader at a time.
type keyboard struct {
	file *os.File
	in   *bufio.Reader
	read chan lineRead // the read in progress; nil when there is none
}

type lineRead struct {
	line string
	err  error
}

func newKeyboard(file *os.File) *keyboard { return &keyboard{file: file, in: bufio.NewReader(file)} }

// line returns the next line, without its end; io.EOF when there is none. When ctx
// ends the error is its cause.
func (k *keyboard) line(ctx context.Context) (string, error) {
	if k.read == nil {
		k.read = make(chan lineRead, 1)
		go func(in *bufio.Reader, read chan<- lineRead) {
			line, err := in.ReadString('\n')
			if line != "" && err == io.EOF {
				err = nil // a last line without an end
			}
			read <- lineRead{strings.TrimRight(line, "\r\n"), err}
		}(k.in, k.read)
	}
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case t := <-k.read:
		k.read = nil
		return t.line, t.err
	}
}

// typed writes a prompt and returns the next line, as line does; with hidden the
// terminal does not show what is typed, from before the prompt is written.
func (k *keyboard) typed(ctx context.Context, hidden bool, prompt func() error) (string, error) {
	if hidden {
		show, err := hideTyped(k.file)
		if err != nil {
			return "", fmt.Errorf("this terminal cannot hide what is typed: %w: answer with `parley answer … - < FILE`", err)
		}
		defer show()
	}
	if err := prompt(); err != nil {
		return "", err
	}
	return k.line(ctx)
}

// discard drops what was typed so far: it was typed before the next question was
// seen.
func (k *keyboard) discard() {
	if k.read != nil {
		select {
		case <-k.read:
			k.read = nil
		default: // it waits for a line, and has none of the buffer
		}
	}
	if k.read == nil {
		_, _ = k.in.Discard(k.in.Buffered()) // what is buffered can be discarded
	}
	dropTyped(k.file)
}

// person reports whether a person can be asked: a terminal is read, and a terminal
// shows the questions.
func (k *keyboard) person() bool {
	return isatty.IsTerminal(k.file.Fd()) && shownToPerson()
}
