package ollama

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
)

// TestImagesGoToModelsThatSee: the server is asked once what a model takes; one that
// does not say gets the images.
func TestImagesGoToModelsThatSee(t *testing.T) {
	const png = "\x89PNG\r\n\x1a\n"
	for _, c := range []struct{ name, shown, want string }{
		{"a model that sees", `{"capabilities":["completion","tools","vision"]}`, `"content":"what?","images":["iVBORw0KGgo="]`},
		{"one that does not", `{"capabilities":["completion","tools"]}`, `"content":"what?\n\n[image a.png, 8 bytes: left out, the model does not take it]"`},
		{"a server that does not say", `{}`, `"images":["iVBORw0KGgo="]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sent atomic.Value
			var shows atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				raw, _ := io.ReadAll(r.Body)
				if r.URL.Path == "/api/show" {
					shows.Add(1)
					_, _ = io.WriteString(w, c.shown)
					return
				}
				sent.Store(string(raw))
				_, _ = io.WriteString(w, `{"message":{"role":"assistant","content":"a chart"},"done":true,"done_reason":"stop"}`+"\n")
			}))
			defer s.Close()
			p := New(Config{Host: s.URL})
			shown := events.Part{Kind: events.PartResult, Call: "1", Name: "look", Text: "done", Attachments: []events.Attachment{{MIME: "image/png", Object: &events.Object{Name: "c/1", Size: 8}}}}
			for range 2 {
				for _, err := range p.Stream(t.Context(), llm.Request{Model: "m", Media: map[string]llm.Media{"c/1": {Data: []byte(png)}}, Messages: []events.Message{
					{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "what?"}, {Kind: events.PartImage, Name: "a.png", Data: []byte(png)}}},
					{Role: events.RoleAssistant, Parts: []events.Part{{Kind: events.PartCall, Call: "1", Name: "look"}}},
					{Role: events.RoleTool, Parts: []events.Part{shown}},
				}}) {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			got := sent.Load().(string)
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s\nwithout %s", got, c.want)
			}
			if c.shown != `{}` && shows.Load() != 1 {
				t.Errorf("the server was asked %d times", shows.Load())
			}
		})
	}
}
