package catalog

import (
	"io"
	"testing"

	"github.com/parleybus/parley/internal/ceilings"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// pour is a body without end; it counts what is read of it.
type pour struct {
	start string
	read  int64
}

func (p *pour) Read(b []byte) (int, error) {
	n := copy(b, p.start)
	p.start = p.start[n:]
	for ; n < len(b); n++ {
		b[n] = 'x'
	}
	p.read += int64(n)
	return n, nil
}

// TestALineWithoutEndIsStopped: no decoder reads on when a body has no line break,
// and the error is not one that is retried.
func TestALineWithoutEndIsStopped(t *testing.T) {
	for _, provider := range []string{OpenAI, OpenAIResponses, Anthropic, Gemini, Ollama} {
		for _, start := range []string{"data: ", "", `{"a":"`} {
			decode, err := Decoder(provider)
			if err != nil {
				t.Fatal(err)
			}
			body := &pour{start: start}
			var end *events.GenerationEnded
			for e := range decode(io.Reader(body)) {
				end, _ = e.(*events.GenerationEnded)
			}
			if end == nil || end.Error == nil || end.Error.Code != ceilings.CodeAnswerBytes || end.Error.Retryable() {
				t.Errorf("%s, %q: the answer ended as %+v", provider, start, end)
			}
			if body.read > llm.MaxLine+1<<20 {
				t.Errorf("%s, %q: %d bytes were read", provider, start, body.read)
			}
		}
	}
}
