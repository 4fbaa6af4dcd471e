package conformance

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

// Decoder tests that a decoder's output does not depend on how the transport
// splits the body or on when the consumer stops. Bodies are keyed by name, and
// of any kind.
func Decoder(t *testing.T, decode llm.Decoder, bodies map[string]string) {
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			whole := trace(t, decode(strings.NewReader(body)))
			same := func(how string, r io.Reader) {
				t.Helper()
				if got := trace(t, decode(r)); got != whole {
					t.Fatalf("%s it is\n%sin one piece\n%s", how, got, whole)
				}
			}
			same("byte by byte", iotest.OneByteReader(strings.NewReader(body)))
			same("with the end beside the last bytes", iotest.DataErrReader(strings.NewReader(body)))
			for i := range len(body) {
				same(fmt.Sprintf("split at byte %d", i), io.MultiReader(strings.NewReader(body[:i]), strings.NewReader(body[i:])))
			}
			for stop := 1; stop <= strings.Count(whole, "\n"); stop++ {
				n := 0
				decode(strings.NewReader(body))(func(events.Event, error) bool {
					n++
					return n < stop
				})
				if n != stop {
					t.Fatalf("%d events came after a stop at %d", n, stop)
				}
			}
		})
	}
}

// trace returns everything that a stream yields, a line for each event.
func trace(t *testing.T, s llm.Stream) string {
	t.Helper()
	var b strings.Builder
	for e, err := range s {
		raw, encErr := events.Append(nil, e)
		if encErr != nil {
			t.Fatal(encErr)
		}
		fmt.Fprintf(&b, "%s %v\n", raw, err)
	}
	return b.String()
}

// Cuts tests a decoder with truncated bodies and broken connections: the
// content so far is kept, an incomplete call never runs, and an incomplete
// answer is never reported as complete.
func Cuts(t *testing.T, decode llm.Decoder, bodies map[string]string) {
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			whole := read(t, decode(strings.NewReader(body)))
			if whole.End.Error != nil {
				t.Fatalf("the body does not end well: %v", whole.End.Error)
			}
			for i := range len(body) {
				cut := read(t, decode(strings.NewReader(body[:i])))
				broken := read(t, decode(io.MultiReader(strings.NewReader(body[:i]), iotest.ErrReader(io.ErrUnexpectedEOF))))
				if why := beginning(cut, whole); why != "" {
					t.Fatalf("cut at byte %d %s", i, why)
				}
				if why := beginning(broken, whole); why != "" || broken.End.Error == nil && !broken.End.Terminated {
					t.Fatalf("broken at byte %d %s (error %v)", i, why, broken.End.Error)
				}
			}
		})
	}
}

// beginning returns why an answer is not the start of another, or "".
func beginning(got, whole recording.Answer) string {
	switch {
	case !strings.HasPrefix(whole.Text, got.Text) || !strings.HasPrefix(whole.Reasoning, got.Reasoning):
		return fmt.Sprintf("it says %q and thinks %q", got.Text, got.Reasoning)
	case len(got.Calls) > len(whole.Calls):
		return fmt.Sprintf("it has the calls %+v", got.Calls)
	case got.End.Error != nil && (got.End.Terminated || !got.End.Error.Retryable()):
		return fmt.Sprintf("the end is %+v", got.End)
	case got.End.Error == nil && (got.Text != whole.Text || got.Reasoning != whole.Reasoning || len(got.Calls) != len(whole.Calls)):
		return fmt.Sprintf("it seems complete and says %q with the calls %+v", got.Text, got.Calls)
	}
	for i, call := range got.Calls {
		runs := call.Invalid == ""
		if runs && call.Arguments != whole.Calls[i].Arguments || !runs && got.End.Error == nil {
			return fmt.Sprintf("call %d is %+v", i, call)
		}
	}
	return ""
}

// Outcome is the comparable summary of a stream.
type Outcome struct {
	Text, Reasoning string
	Calls           []recording.Call // their blocks left out
	Finish          events.Finish
	Word            string
	Terminated      bool
	Class           events.ErrorClass
}

// Read decodes a body, checks the rules of a stream and summarizes it.
func Read(t *testing.T, decode llm.Decoder, body io.Reader) (recording.Answer, Outcome) {
	t.Helper()
	a := read(t, decode(body))
	o := Outcome{Text: a.Text, Reasoning: a.Reasoning, Finish: a.End.Finish, Word: a.End.FinishWord, Terminated: a.End.Terminated}
	for _, c := range a.Calls {
		c.Block = 0
		o.Calls = append(o.Calls, c)
	}
	if a.End.Error != nil {
		o.Class = a.End.Error.Class
	}
	return a, o
}
