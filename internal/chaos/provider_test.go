package chaos_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/broker/brokertest"
	"github.com/parleybus/parley/internal/events"
)

// providerFault is how a provider fails, and the class that its adapter gives it.
type providerFault struct {
	kind  string
	class events.ErrorClass // empty if the answer is complete all the same
	times int               // how often it may fail before the step's budget is spent
}

// providerFaults returns all ways in which the provider fails.
func providerFaults() []providerFault {
	return []providerFault{
		{"refused", events.ErrNetwork, 1}, // nobody listens
		{"reset", events.ErrNetwork, 2},   // the connection breaks before the answer
		{"limited", events.ErrRateLimited, 2},
		{"error", events.ErrOverloaded, 2},
		{"stalled", events.ErrIdle, 1},
		{"cut-in-text", events.ErrCut, 2},
		{"cut-in-arguments", events.ErrCut, 2},
		{"broken", events.ErrNetwork, 2}, // as cut-in-text, with a reset
		{"garbage", events.ErrInternal, 1},
		{"drip", "", 1 << 20},
	}
}

// budget returns after how many requests of a step a turn may fail with a class
// (ADR 66). It is written down here again: the checker does not ask what it checks.
func budget(class events.ErrorClass) int {
	switch class {
	case events.ErrRateLimited, events.ErrOverloaded, events.ErrNetwork:
		return 4
	case events.ErrCut:
		return 3
	case events.ErrIdle:
		return 2
	}
	return 1
}

// budget returns after how many requests of a step a turn of the conversation may fail
// with a class. Only garbage is an internal error of one request; otherwise its worker
// died with the last request that the step had.
func (k *talk) budget(class events.ErrorClass) int {
	if class == events.ErrInternal && k.fake.plan[k.text].kind != "garbage" {
		return budget(events.ErrOverloaded)
	}
	return budget(class)
}

// failing is what a seed decides about the provider in one conversation.
type failing struct {
	providerFault
	Step  int // of the turn, from 0
	Times int
}

// failings returns how the provider fails in each provided conversation. They are
// drawn apart; seeds in a row have all faults in turn.
func failings(seed uint64) map[string]failing {
	r, all := rand.New(rand.NewPCG(seed, 13)), map[string]failing{}
	for i, s := range providedScenarios() {
		f := failing{providerFault: providerFaults()[(seed+uint64(i*5))%uint64(len(providerFaults()))]}
		f.Times = 1 + r.IntN(min(f.times, 2))
		if f.kind != "cut-in-arguments" {
			f.Step = r.IntN(s.steps)
		} else if s.steps == 1 {
			f.providerFault = providerFaults()[5] // it has no arguments
		}
		all[s.text] = f
	}
	return all
}

// provider is a server that speaks Chat Completions. What it answers follows from the
// request, and how it fails from the seed: it runs in the test's process and counts over
// the deaths of all workers.
type provider struct {
	t       *testing.T
	address string
	plan    map[string]failing

	mu     sync.Mutex
	server *http.Server
	failed map[string]int // how often the fault of a conversation took place
	ended  sync.WaitGroup
}

// modelOfProvider is the full name of its model.
const modelOfProvider = "fake/model"

func startProvider(t *testing.T, seed uint64) *provider {
	p := &provider{t: t, address: brokertest.Addresses(t, 1)[0], plan: failings(seed), failed: map[string]int{}}
	for _, f := range p.plan {
		if f.kind == "refused" {
			return p // until the first request was refused, see talk.provided
		}
	}
	p.open()
	return p
}

func (p *provider) url() string { return "http://" + p.address + "/v1" }

// open lets the provider listen.
func (p *provider) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return
	}
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Errorf("the provider cannot listen: %v", err)
		return
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	p.ended.Go(func() {
		if err := p.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.t.Errorf("the provider: %v", err)
		}
	})
}

func (p *provider) close() {
	p.mu.Lock()
	if p.server != nil {
		_ = p.server.Close() // it breaks what still reads
	}
	p.mu.Unlock()
	p.ended.Wait()
}

// refused records that a request of a conversation was refused.
func (p *provider) refused(text string) {
	p.mu.Lock()
	p.failed[text]++
	p.mu.Unlock()
	p.open()
}

// fails reports whether a request is to fail, and how.
func (p *provider) fails(text string, step int) (f failing, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, yes = p.plan[text]
	if yes = yes && f.Step == step && f.kind != "refused" && (p.failed[text] < f.Times || f.kind == "drip"); yes {
		p.failed[text]++
	}
	return f, yes
}

// ServeHTTP implements [http.Handler].
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, results := "", []string{}
	for _, m := range asked.Messages {
		content := contentOf(m.Content)
		switch m.Role {
		case "user":
			text, results = content, nil
		case "tool":
			results = append(results, content)
		}
	}
	for key := range p.plan { // a message that follows one without an answer may stand behind it
		if strings.HasSuffix(text, key) {
			text = key
		}
	}
	step := min(len(results), 1)
	chunks, arguments := answerTo(text, results)
	f, fails := p.fails(text, step)
	if !fails {
		p.stream(w, r, chunks, 15*time.Millisecond)
		return
	}
	switch f.kind {
	case "limited":
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`, http.StatusTooManyRequests)
	case "error":
		http.Error(w, `{"error":{"message":"it is broken"}}`, http.StatusInternalServerError)
	case "reset":
		p.reset(w)
	case "stalled":
		p.stream(w, r, chunks[:len(chunks)/2], time.Millisecond)
		<-r.Context().Done()
	case "cut-in-text":
		p.stream(w, r, chunks[:1+len(chunks)/3], time.Millisecond)
	case "cut-in-arguments":
		p.stream(w, r, chunks[:arguments+1], time.Millisecond)
	case "broken":
		p.stream(w, r, chunks[:1+len(chunks)/3], time.Millisecond)
		p.reset(w)
	case "garbage":
		p.stream(w, r, append(chunks[:1:1], "\x00\x16garbage{{{]"), time.Millisecond)
	case "drip":
		p.drip(w, r, chunks)
	}
}

// contentOf returns the text of a message: a string, or parts.
func contentOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct{ Text string }
	_ = json.Unmarshal(raw, &parts) // another kind of content has no text
	for _, p := range parts {
		s += p.Text
	}
	return s
}

// answerTo returns the chunks of the answer, and the index of the first one with a piece
// of arguments.
func answerTo(text string, results []string) (chunks []string, arguments int) {
	delta := func(d string) {
		chunks = append(chunks, `{"id":"c","model":"model","choices":[{"index":0,"delta":`+d+`}]}`)
	}
	finish := "stop"
	said := words(40)
	if strings.HasPrefix(text, "provided calls") {
		said = "I call two."
		if len(results) > 0 {
			said = "Done: " + strings.Join(results, ", ") + "."
		}
	}
	for _, word := range strings.SplitAfter(said, " ") {
		quoted, _ := json.Marshal(word) // a string can be encoded
		delta(`{"content":` + string(quoted) + `}`)
	}
	if strings.HasPrefix(text, "provided calls") && len(results) == 0 {
		finish = "tool_calls"
		for i, tool := range []string{"look", "charge"} {
			delta(fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":"t%[1]d","type":"function","function":{"name":%q,"arguments":""}}]}`, i, tool))
			if i == 0 {
				arguments = len(chunks)
			}
			for _, piece := range []string{`{\"n`, `\":`, `3}`} {
				delta(fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":"%s"}}]}`, i, piece))
			}
		}
	}
	chunks = append(chunks, `{"id":"c","model":"model","choices":[{"index":0,"delta":{},"finish_reason":"`+finish+`"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}`, "[DONE]")
	return chunks, arguments
}

func (p *provider) stream(w http.ResponseWriter, r *http.Request, chunks []string, pace time.Duration) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, chunk := range chunks {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", chunk) // the client may be gone
		_ = http.NewResponseController(w).Flush()    // the same
		select {
		case <-r.Context().Done():
			return
		case <-time.After(pace):
		}
	}
}

// drip sends a complete answer in pieces of a few bytes.
func (p *provider) drip(w http.ResponseWriter, r *http.Request, chunks []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	body := "data: " + strings.Join(chunks, "\n\ndata: ") + "\n\n"
	for len(body) > 0 && r.Context().Err() == nil {
		n := min(len(body), 7)
		_, _ = w.Write([]byte(body[:n]))          // the client may be gone
		_ = http.NewResponseController(w).Flush() // the same
		body = body[n:]
		<-time.After(2 * time.Millisecond)
	}
}

// reset breaks the connection.
func (p *provider) reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.t.Errorf("break the connection: %v", err)
		return
	}
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // a reset instead of an end
	}
	_ = conn.Close() // it is to break
}

// took adds the faults that took place to the matrix.
func (p *provider) took(m matrix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for text, n := range p.failed {
		m["provider/"+p.plan[text].kind] += n
	}
}
