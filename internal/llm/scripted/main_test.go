package scripted_test

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/scripted"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func provider(t *testing.T, script string) *scripted.Provider {
	t.Helper()
	p, err := scripted.New("test", []byte(script))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reply is what a stream came to.
type reply struct {
	text, refusal, reasoning string
	calls                    []events.Part
	chunks                   []string // of text, reasoning and arguments
	kinds                    string   // first letters of the events, in order
	end                      events.GenerationEnded
}

// listen reads a stream and holds it to the rules of [llm.Stream].
func listen(t *testing.T, s llm.Stream) reply {
	t.Helper()
	var r reply
	open := map[int]int{} // index of the call by block; -1 when it has ended
	ended := false
	for e, err := range s {
		if ended {
			t.Fatalf("%s follows the end", e.Type())
		}
		if _, last := e.(*events.GenerationEnded); err != nil && !last {
			t.Fatalf("an error beside %s", e.Type())
		}
		switch e := e.(type) {
		case *events.TextChunk:
			r.chunks, r.kinds = append(r.chunks, e.Text), r.kinds+"t"
			if e.Refusal {
				r.refusal += e.Text
			} else {
				r.text += e.Text
			}
		case *events.ReasoningChunk:
			r.chunks, r.kinds = append(r.chunks, e.Text), r.kinds+"r"
			r.reasoning += e.Text
		case *events.ToolCallStart:
			r.kinds += "("
			open[e.Block] = len(r.calls)
			r.calls = append(r.calls, events.Part{Kind: events.PartCall, Name: e.Name, ProviderID: e.ProviderID})
		case *events.ToolCallDelta:
			r.chunks, r.kinds = append(r.chunks, e.Arguments), r.kinds+"a"
			r.calls[open[e.Block]].Arguments += e.Arguments
		case *events.ToolCallEnd:
			r.kinds += ")"
			r.calls[open[e.Block]].Invalid = e.Invalid
			delete(open, e.Block)
		case *events.GenerationEnded:
			ended, r.end = true, *e
			if len(open) > 0 {
				t.Fatalf("%d calls are open at the end", len(open))
			}
			if (err != nil) != (e.Error != nil) || (err != nil && err.Error() != e.Error.Error()) {
				t.Fatalf("the error %v is beside %v", err, e.Error)
			}
		default:
			t.Fatalf("unexpected %s", e.Type())
		}
	}
	if !ended {
		t.Fatal("the stream has no end")
	}
	return r
}

func message(role events.Role, text string) events.Message {
	return events.Message{Role: role, Parts: []events.Part{{Kind: events.PartText, Text: text}}}
}

func result(text string, status events.Status) events.Message {
	return events.Message{Role: events.RoleTool, Parts: []events.Part{{Kind: events.PartResult, Text: text, Status: status}}}
}

// replyOf calls p in a fresh context.
func replyOf(t *testing.T, p llm.Provider, messages ...events.Message) reply {
	t.Helper()
	return listen(t, p.Stream(t.Context(), request(messages...)))
}

// request offers the tools a and b.
func request(messages ...events.Message) llm.Request {
	return llm.Request{Model: "any", Messages: messages, Tools: []events.ToolSpec{{Name: "a"}, {Name: "b"}}}
}

func user(text string) events.Message { return message(events.RoleUser, text) }

// compact writes what matters of an answer in one line.
func compact(r reply) string {
	parts := []string{}
	for _, s := range []string{r.reasoning, r.text, r.refusal} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	for _, c := range r.calls {
		parts = append(parts, c.Name+c.Arguments)
	}
	return strings.Join(parts, " | ")
}

func cancelled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
