package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"

	"github.com/mattn/go-isatty"

	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/visible"
)

// All that parley prints goes through this file: no other uses the standard output
// or the standard error (a test holds that).

// stdout is the standard output for people: nothing of others that is written to
// it controls the terminal, hides or changes its order.
func stdout() io.Writer { return guarded(os.Stdout) }

// stderr is the standard error, as stdout is the standard output.
func stderr() io.Writer { return guarded(os.Stderr) }

func guarded(f *os.File) io.Writer {
	return &visible.Writer{W: f, Own: append(terminal.Styles(), enterView, leaveView, viewHome, lineDone, clearLine, viewDone)}
}

// jsonOutput is the standard output for JSON. For a program it has the same bytes
// as the log; in a terminal hidden characters are escapes, and the JSON means the
// same.
func jsonOutput() io.Writer {
	if profile().Width == 0 {
		return os.Stdout
	}
	return visible.JSONWriter{W: os.Stdout}
}

// printRaw prints messages as they are on the bus, byte by byte unless it is a
// terminal that shows them.
func printRaw(text []byte) error {
	if profile().Width > 0 {
		var shown []byte
		for line := range bytes.Lines(text) {
			if json.Valid(line) {
				shown = visible.JSON(shown, line)
			} else {
				shown = append(shown, visible.String(string(line))...)
			}
		}
		text = shown
	}
	_, err := os.Stdout.Write(text)
	return outputError(err)
}

func profile() terminal.Profile { return terminal.Detect(os.Stdout, os.Getenv) }

// errorProfile is what can be shown on standard error, where questions are asked.
func errorProfile() terminal.Profile { return terminal.Detect(os.Stderr, os.Getenv) }

// protocolOutput is the standard output for a client that speaks a protocol.
func protocolOutput() io.Writer { return os.Stdout }

// screenSize is the file whose terminal has a size.
func screenSize() int { return int(os.Stdout.Fd()) }

// shownToPerson reports whether questions are shown in a terminal.
func shownToPerson() bool { return isatty.IsTerminal(os.Stderr.Fd()) }

// takeTerminal gives the terminal to a command. Standard output may be a pipe; the
// terminal is where the questions are.
func takeTerminal(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr }
