package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
)

// narrowHost is a host of Chat Completions whose model takes 16,000 tokens. It counts
// three bytes a token, which is not how Parley estimates, and refuses a longer request as
// real hosts do. It answers a question with two calls, one after the other, then a text.
type narrowHost struct {
	named bool // a refusal names the window

	mu             sync.Mutex
	asked, refused int
	most           int
	wrong          []string
}

const narrowWindow = 16_000

type narrowMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	Calls   []struct {
		ID       string `json:"id"`
		Function struct {
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	Call string `json:"tool_call_id"`
}

type narrowRequest struct {
	Messages []narrowMessage `json:"messages"`
	Tools    json.RawMessage `json:"tools"`
}

// ServeHTTP implements [http.Handler].
func (h *narrowHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body narrowRequest
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(raw, &body)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || len(body.Messages) == 0 {
		http.Error(w, `{"error":{"message":"no messages"}}`, http.StatusBadRequest)
		return
	}
	h.asked++
	tokens := body.tokens()
	if tokens > narrowWindow {
		h.refused++
		message := "Your input exceeds the context window of this model. Please adjust your input and try again."
		if h.named {
			message = fmt.Sprintf("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens.", narrowWindow, tokens)
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":{"message":%q,"type":"invalid_request_error","code":"context_length_exceeded"}}`, message)
		return
	}
	h.most = max(h.most, tokens)
	number, results := h.question(body.Messages)
	delta, finish := fmt.Sprintf(`{"content":"answer %d: %s."}`, number, strings.Repeat("y", number*11%700)), "stop"
	if results < 2 {
		delta, finish = fmt.Sprintf(`{"tool_calls":[{"index":0,"id":"c%d","type":"function","function":{"name":"page","arguments":"{\"bytes\":%d}"}}]}`, h.asked, 200+(2*number+results)*131%6000), "tool_calls"
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, `data: {"id":"n","object":"chat.completion.chunk","model":"narrow","choices":[{"index":0,"delta":%s,"finish_reason":%q}]}`+"\n\n", delta, finish)
	fmt.Fprintf(w, `data: {"id":"n","object":"chat.completion.chunk","model":"narrow","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`+"\n\ndata: [DONE]\n\n", tokens, len(delta)/3, tokens+len(delta)/3)
}

// tokens counts a request.
func (r *narrowRequest) tokens() int {
	n := len(r.Tools)
	for _, m := range r.Messages {
		n += 12 + len(m.Content)
		for _, c := range m.Calls {
			n += 30 + len(c.Function.Arguments)
		}
	}
	return n / 3
}

// question returns the number of the last question and how many results there are after
// it. It notes what no host would take: a result without its call, a call without result.
func (h *narrowHost) question(messages []narrowMessage) (number, results int) {
	open := map[string]bool{}
	for i, m := range messages {
		switch m.Role {
		case "user":
			results = 0
			if _, after, ok := strings.Cut(m.Content, "question "); ok {
				number, _ = strconv.Atoi(strings.Split(after, ":")[0]) // 0 is wrong, and fails the test below
			}
		case "tool":
			if !open[m.Call] {
				h.wrong = append(h.wrong, fmt.Sprintf("message %d is a result without a call", i))
			}
			delete(open, m.Call)
			results++
		}
		if m.Role != "tool" && len(open) > 0 {
			h.wrong = append(h.wrong, fmt.Sprintf("message %d follows a call without a result", i))
		}
		for _, c := range m.Calls {
			open[c.ID] = true
		}
	}
	return number, results
}

const narrowTools = `
tools:
  - name: page
    description: Prints a page.
    effect: pure
    input: {type: object, properties: {bytes: {type: integer}}, required: [bytes]}
    exec: {command: [sh, -c, 'head -c $1 /dev/zero | tr "\0" z', --, {arg: bytes}]}
`

// TestE2EAConversationNeverEndsByItsLength chats PARLEY_TURNS (40) turns with a model of
// 16,000 tokens through real processes, and wants to see what was left out for the model.
func TestE2EAConversationNeverEndsByItsLength(t *testing.T) {
	t.Parallel()
	turns, err := strconv.Atoi(cmp.Or(os.Getenv("PARLEY_TURNS"), "40"))
	if err != nil {
		t.Fatal(err)
	}
	s := prepare(t)
	hosts := map[string]*narrowHost{"named": {named: true}, "unnamed": {}}
	s.narrow(hosts)
	for name, mostRefused := range map[string]int{"named": 1, "unnamed": turns} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p := hosts[name], *s.processes
			p.t = t
			h.talk(t, p, name+"/narrow", turns)
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.wrong) > 0 {
				t.Errorf("%d requests are malformed: %s", len(h.wrong), h.wrong[0])
			}
			if h.refused > mostRefused {
				t.Errorf("%d of %d requests were refused, want at most %d", h.refused, h.asked, mostRefused)
			}
			t.Logf("%d turns, %d requests, %d refused, the longest had %d tokens", turns, h.asked, h.refused, h.most)
		})
	}
}

// narrow starts the roles, with the hosts by their names.
func (s *separate) narrow(hosts map[string]*narrowHost) {
	tools := filepath.Join(s.dir, "tools.yaml")
	if err := os.WriteFile(tools, []byte(narrowTools), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.startNATS("-1")
	var models []string
	for name, h := range hosts {
		host := httptest.NewServer(h)
		s.t.Cleanup(host.Close)
		models = append(models, "--provider", name+"="+host.URL+"/v1")
	}
	s.orch = s.start("orchestrator")
	s.orch.await(1, "owns a shard")
	s.llm = s.start("llm-worker", models...)
	s.llm.await(1, "msg=ready")
	s.tool = s.start("tool-worker", "--tools-file", tools)
	s.tool.await(1, "msg=ready")
}

// talk holds the conversation, and checks what people see of it.
func (h *narrowHost) talk(t *testing.T, p processes, model string, turns int) {
	conversation := parley.NewID()
	var lines strings.Builder
	for i := 1; i <= turns; i++ {
		fmt.Fprintf(&lines, "question %d: %s\n", i, strings.Repeat("x", 100+i*7%400))
	}
	p.stdin = strings.NewReader(lines.String())
	chat := p.command("chat", "-c", conversation, "--model", model)
	for i := 1; i <= turns; i++ {
		chat.await(1, fmt.Sprintf("answer %d:", i))
	}
	said := chat.finish()

	ended, compacted := 0, []*events.Compacted(nil)
	for line := range strings.Lines(p.command("replay", "--json", conversation).finish()) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		l, err := events.DecodeLine(e.Event)
		if err != nil {
			t.Fatal(err)
		}
		d, ok := l.Event.(*events.Decision)
		if !ok {
			continue
		}
		for _, l := range d.Events {
			switch e := l.Event.(type) {
			case *events.TurnEnded:
				if ended++; e.Outcome != events.OutcomeCompleted {
					t.Errorf("turn %d ended as %s: %s %v", ended, e.Outcome, e.Reason, e.Error)
				}
			case *events.Compacted:
				compacted = append(compacted, e)
			}
		}
	}
	if ended != turns || len(compacted) == 0 {
		t.Fatalf("%d of %d turns ended, %d compactions", ended, turns, len(compacted))
	}
	shownLength(t, &p, conversation, turns, said, compacted)
}

// shownLength checks that chat and replay print a line for each compaction, and show all
// messages and what the model is not sent of them.
func shownLength(t *testing.T, p *processes, conversation string, turns int, said string, compacted []*events.Compacted) {
	const line = " the model is no longer sent "
	replay := p.command("replay", conversation).finish()
	if a, b := strings.Count(said, line), strings.Count(replay, line); a != len(compacted) || b != a {
		t.Errorf("chat says %d times that something was left out, replay %d times, of %d", a, b, len(compacted))
	}
	text := p.command("show", conversation).finish()
	last := compacted[len(compacted)-1]
	above, below, ok := strings.Cut(text, " the model is not sent what is above ")
	if first := fmt.Sprintf("question %d:", last.Omitted+1); ok != (last.Omitted > 0) || ok && (strings.Contains(above, first) || !strings.Contains(below, first)) {
		t.Errorf("show does not say that the model is sent what follows the turn %d", last.Omitted)
	}
	for _, want := range []string{"question 1:", "answer 1:", fmt.Sprintf("answer %d:", turns), fmt.Sprintf("\nThe model is no longer sent %d of the earlier turns", last.Omitted)} {
		if !strings.Contains(text, want) {
			t.Errorf("show does not print %q", want)
		}
	}
	t.Logf("%d compactions, the last: %+v", len(compacted), *last)
}
