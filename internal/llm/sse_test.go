package llm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/parleybus/parley/internal/llm"
)

// readSSE writes events as "event|data|error" with ~ when they may be half, and
// what ended the body.
func readSSE(r io.Reader) (got []string, err error) {
	for e, readErr := range llm.ReadSSE(r) {
		if readErr != nil {
			return got, readErr
		}
		s := e.Event + "|" + string(e.Data) + "|" + string(e.Error)
		if e.Partial {
			s += "~"
		}
		got = append(got, s)
	}
	return got, nil
}

type sseCase struct {
	name string
	body string
	want string // events, joined by spaces
}

func sseCases() []sseCase {
	return []sseCase{
		{"an event is its data", "data: a\n\n", "|a|"},
		{"an event has a name", "event: ping\ndata: a\n\ndata: b\n\n", "ping|a| |b|"},
		{"lines of data are joined by newlines", "data: a\ndata: b\n\n", "|a\nb|"},
		{"CRLF ends lines as LF does", "event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", "x|a| |b|"},
		{"the space after data: may be missing", "data:a\n\ndata:{\"b\": 1}\n\n", "|a| |{\"b\": 1}|"},
		{"only one space is taken away", "data:  a\n\n", "| a|"},
		{"comments are skipped", ": OPENROUTER PROCESSING\n\n:\n\ndata: a\n: in between\n\n", "|a|"},
		{"a byte order mark is skipped", "\xef\xbb\xbfdata: a\n\n", "|a|"},
		{"a byte order mark before an event that nothing closes is skipped", "\xef\xbb\xbfdata: a", "|a|~"},
		{"an event that no blank line closes is not lost", "data: a\n\ndata: b\n", "|a| |b|"},
		{"a line that nothing ends is not lost", "data: a\n\ndata: b", "|a| |b|~"},
		{"a line that only CR ends is not lost", "data: [DONE]\r", "|[DONE]|~"},
		{"half an event line is no event", "data: a\n\nevent: b", "|a|"},
		{"data before half a line of another field is not lost", "data: a\nevent: b", "|a|"},
		{"an event: after data begins a new event", "event: a\ndata: 1\nevent: b\ndata: 2\n\n", "a|1| b|2|"},
		{"events without data are skipped", "data:\n\ndata: \n\nevent: ping\n\nid: 7\n\nretry: 10\n\ndata: a\n\n", "|a|"},
		{"an event name does not outlive its event", "event: ping\n\ndata: a\n\n", "|a|"},
		{"[DONE] is data like any other", "data: [DONE]\n\n", "|[DONE]|"},
		{"the error: field of llama.cpp is kept", "data: a\n\nerror: {\"code\":500}\n\n", "|a| ||{\"code\":500}"},
		{"an error: field that nothing ends is not lost", "error: {\"code\":500}", "||{\"code\":500}~"},
		{"unknown fields and lines without a colon are skipped", "foo: bar\nfoo\ndata\ndata: a\n\n", "|a|"},
		{"characters of several bytes stay whole", "data: Grüße 東京 🙂\n\n", "|Grüße 東京 🙂|"},
		{"colons in data stay", "data: a: b:c\n\n", "|a: b:c|"},
		{"an empty body has no events", "", ""},
		{"a body of blank lines has no events", "\n\r\n\n", ""},
	}
}

func TestReadSSE(t *testing.T) {
	for _, c := range sseCases() {
		t.Run(c.name, func(t *testing.T) {
			got, err := readSSE(strings.NewReader(c.body))
			if had := strings.Join(got, " "); had != c.want || err != nil {
				t.Errorf("events are %q with error %v, want %q", had, err, c.want)
			}
		})
	}
}

func TestReadSSEReadsTheSameHoweverTheNetworkCutsTheBody(t *testing.T) {
	var body strings.Builder
	for _, c := range sseCases() {
		body.WriteString(strings.TrimPrefix(c.body, "\xef\xbb\xbf") + "\n\n")
	}
	whole := body.String()
	want, err := readSSE(strings.NewReader(whole))
	if err != nil || len(want) == 0 {
		t.Fatalf("%d events, %v", len(want), err)
	}
	for n := range len(whole) + 1 {
		got, err := readSSE(io.MultiReader(strings.NewReader(whole[:n]), strings.NewReader(whole[n:])))
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("cut at byte %d: %q with error %v", n, got, err)
		}
	}
	got, err := readSSE(iotest.OneByteReader(strings.NewReader(whole)))
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("byte by byte: %q with error %v", got, err)
	}
}

func TestReadSSEYieldsWhatCameBeforeAReadError(t *testing.T) {
	// net/http ends a body that the server broke off with io.ErrUnexpectedEOF.
	for _, broke := range []error{errors.New("reset"), io.ErrUnexpectedEOF} {
		got, err := readSSE(io.MultiReader(strings.NewReader("data: a\n\ndata: b\ndata: c"), iotest.ErrReader(broke)))
		if strings.Join(got, " ") != "|a| |b|~" || !errors.Is(err, broke) {
			t.Errorf("events are %q with error %v, want error %v", got, err, broke)
		}
	}
}

func TestReadSSEStopsWithItsConsumer(t *testing.T) {
	for _, body := range []string{"data: a\n\ndata: b\n\n", "data: a\nevent: x\ndata: b\n\n", "data: a"} {
		n := 0
		for range llm.ReadSSE(strings.NewReader(body)) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%d events of %q", n, body)
		}
	}
}

func TestReadSSEReadsLongLines(t *testing.T) {
	for _, size := range []int{1 << 20, 12 << 20} {
		t.Run(fmt.Sprintf("a line of %d MiB is read whole", size>>20), func(t *testing.T) {
			body := io.MultiReader(strings.NewReader("data: "), io.LimitReader(repeat('x'), int64(size)), strings.NewReader("\n\ndata: end\n\n"))
			var sizes []int
			for e, err := range llm.ReadSSE(body) {
				if err != nil {
					t.Fatal(err)
				}
				sizes = append(sizes, len(e.Data))
			}
			if len(sizes) != 2 || sizes[0] != size || sizes[1] != 3 {
				t.Errorf("data of %d bytes, want %d and 3", sizes, size)
			}
		})
	}
}

func TestReadSSERefusesWhatHasNoEnd(t *testing.T) {
	cases := []struct {
		name string
		body io.Reader
	}{
		{"a line without end is refused", io.MultiReader(strings.NewReader("data: "), repeat('x'))},
		{"an event without end is refused", &lines{line: append(append([]byte("data: "), bytes.Repeat([]byte("x"), 1<<20)...), '\n')}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := readSSE(c.body); err == nil || len(got) > 0 {
				t.Errorf("%d events, error %v", len(got), err)
			}
		})
	}
}

// Buffers are reused: a long answer of small pieces costs nothing per piece.
func TestReadSSEAllocatesOnceHoweverManyEvents(t *testing.T) {
	cost := func(events int) float64 {
		body := strings.Repeat("data: x\n\n", events)
		return testing.AllocsPerRun(3, func() {
			n := 0
			for range llm.ReadSSE(strings.NewReader(body)) {
				n++
			}
			if n != events {
				t.Fatalf("%d events, want %d", n, events)
			}
		})
	}
	if few, many := cost(100), cost(100_000); many > few+5 {
		t.Errorf("100 events take %v allocations, 100,000 take %v", few, many)
	}
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

type lines struct {
	line []byte
	at   int
}

func (l *lines) Read(p []byte) (int, error) {
	n := copy(p, l.line[l.at:])
	l.at = (l.at + n) % len(l.line)
	return n, nil
}

func BenchmarkReadSSE(b *testing.B) {
	for _, size := range []int{16, 1 << 10, 1 << 20, 32 << 20} {
		b.Run(fmt.Sprintf("data of %d bytes", size), func(b *testing.B) {
			body := []byte("data: " + strings.Repeat("x", size) + "\n\n")
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				for _, err := range llm.ReadSSE(bytes.NewReader(body)) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func FuzzReadSSE(f *testing.F) {
	for _, c := range sseCases() {
		f.Add([]byte(c.body), 3)
	}
	f.Fuzz(func(t *testing.T, body []byte, cut int) {
		want, err := readSSE(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if cut < 0 || cut > len(body) {
			return
		}
		got, err := readSSE(io.MultiReader(bytes.NewReader(body[:cut]), iotest.OneByteReader(bytes.NewReader(body[cut:]))))
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("cut at byte %d: %q with error %v, want %q", cut, got, err, want)
		}
	})
}
