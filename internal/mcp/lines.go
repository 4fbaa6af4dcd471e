package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

const (
	maxGarbage = 1000             // consecutive lines that are not messages
	maxProblem = 2 << 10          // bytes of a text of a server in an error or a log line
	window     = 10 * time.Second // in which maxWords lines are logged
	maxWords   = 50
	edge       = 256 // bytes kept of both ends of a line that is too long
)

// lines reads lines of at most maxMessage bytes.
type lines struct {
	r       *bufio.Reader
	garbage int
}

// longLine is the error of a line that was too long, with the id of the call
// that it answers.
type longLine struct {
	bytes   int
	answers jsonrpc.ID
}

func (l *longLine) Error() string { return fmt.Sprintf("a line of %d bytes is too long", l.bytes) }

// next returns a line without its line break. The caller owns the slice. Text
// after the last line break was truncated, and is not a line.
func (l *lines) next() ([]byte, error) {
	var line []byte
	for {
		piece, err := l.r.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case err == nil:
			return bytes.TrimSpace(line), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxMessage:
			return nil, l.skip(line)
		}
	}
}

// skip skips the rest of a line that is too long.
func (l *lines) skip(start []byte) error {
	head, tail, n := start[:edge], start[len(start)-edge:], len(start)
	for {
		piece, err := l.r.ReadSlice('\n')
		n += len(piece)
		tail = append(bytes.Clone(tail), piece...)
		tail = tail[max(0, len(tail)-edge):]
		switch {
		case err == nil:
			return &longLine{bytes: n, answers: answered(head, bytes.TrimSpace(tail))}
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// answered finds the id of an answer at the start or the end of its text: some
// servers write it first and some last. Between them is a tool's output.
func answered(head, tail []byte) jsonrpc.ID {
	first := regexp.MustCompile(`^\{(?:"jsonrpc":"2\.0",)?"id":(\d{1,15}),`)
	last := regexp.MustCompile(`\},(?:"jsonrpc":"2\.0",)?"id":(\d{1,15})(?:,"jsonrpc":"2\.0")?\}$`)
	m := first.FindSubmatch(head)
	if m == nil {
		m = last.FindSubmatch(tail)
	}
	if m == nil {
		return jsonrpc.ID{}
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return jsonrpc.ID{}
	}
	id, err := jsonrpc.MakeID(float64(n))
	if err != nil {
		return jsonrpc.ID{}
	}
	return id
}

// words logs a server's output other than messages, up to a rate limit.
type words struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time
	count int
	total int64  // lines so far
	line  string // the last
}

// copy logs lines until there are none.
func (w *words) copy(from io.Reader) {
	r := bufio.NewReaderSize(from, maxProblem)
	for more := false; ; {
		piece, err := r.ReadSlice('\n')
		if text := strings.TrimSpace(string(piece)); text != "" && !more {
			w.write("it printed to stderr", text)
		}
		more = errors.Is(err, bufio.ErrBufferFull) // the rest of a long line is not logged
		if err != nil && !more {
			return
		}
	}
}

func (w *words) write(what, text string) {
	text = clip(text, maxProblem)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = text
	w.total++
	if now := time.Now(); now.Sub(w.since) > window {
		if w.count > maxWords {
			w.log.Info("an MCP server wrote more lines", "lines_left_out", w.count-maxWords)
		}
		w.since, w.count = now, 0
	}
	w.count++
	if w.count <= maxWords {
		w.log.Info("an MCP server writes", "what", what, "text", text)
	}
}

// last returns the last line that it wrote.
func (w *words) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.line
}
