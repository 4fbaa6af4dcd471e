package gemini

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func user(s string) events.Message {
	return events.Message{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: s}}}
}

func TestStreamAsksAndDecodes(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, fixtures()["thoughts, text and two calls"])
	}))
	defer s.Close()
	p := New(Config{APIKey: "key", BaseURL: s.URL + "/v1beta/", HTTPClient: s.Client()})
	a := recording.Collect(p.Stream(t.Context(), llm.Request{Model: "gemini-2.5-flash", Messages: []events.Message{user("hi")}}))
	if a.Text != "I add." || len(a.Calls) != 2 || !a.End.Terminated || len(a.Broken) > 0 {
		t.Errorf("answer is %+v", a)
	}
	if got.Method != "POST" || got.URL.String() != "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse" || got.Header.Get("X-Goog-Api-Key") != "key" {
		t.Errorf("asked %s %s with %v", got.Method, got.URL, got.Header)
	}
	if want := `{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}`; string(body) != want {
		t.Errorf("body is %s", body)
	}
	if p.Name() != "gemini" || p.Capabilities("m") != (llm.Capabilities{Tools: true, StreamTools: true, Schema: true}) {
		t.Errorf("provider %s can %+v", p.Name(), p.Capabilities("m"))
	}
}

func TestBaseURL(t *testing.T) {
	const google = "https://generativelanguage.googleapis.com"
	for given, want := range map[string]string{
		"":                             google + "/v1beta",
		google:                         google + "/v1beta",
		google + "/v1beta/models/":     google + "/v1beta",
		google + "/v1beta/openai/":     google + "/v1beta",
		google + "/v1":                 google + "/v1",
		"http://gateway/google/v1beta": "http://gateway/google/v1beta",
	} {
		if got := New(Config{BaseURL: given}).BaseURL(); got != want {
			t.Errorf("%q gives %q, want %q", given, got, want)
		}
	}
}

// TestAModelIsOnlyAModel: the name comes from Settings and must not choose a method.
func TestAModelIsOnlyAModel(t *testing.T) {
	for model, want := range map[string]string{
		"gemini-2.5-flash": "models/gemini-2.5-flash", "models/m": "models/m", "tunedModels/mine-1": "tunedModels/mine-1",
		"a:delete?x=1#y": "models/a%3Adelete%3Fx=1%23y", "../files": "models/..%2Ffiles", "a/b": "models/a%2Fb",
	} {
		if got := resource(model); got != want {
			t.Errorf("%q is %q, want %q", model, got, want)
		}
	}
}

func TestThinking(t *testing.T) {
	for asked, want := range map[string]string{
		"gemini-2.5-flash ":             "true  0",
		"gemini-2.5-flash low":          "true  1024",
		"gemini-2.5-pro high":           "true  24576",
		"gemini-3-pro-preview medium":   "true high 0",
		"gemini-3-pro-preview minimal":  "true low 0",
		"gemini-3.1-pro-preview medium": "true medium 0",
		"gemini-3.8-flash minimal":      "true minimal 0",
		"gemini-3.8-flash none":         "true minimal 0",
		"gemini-3.8-flash max":          "true high 0",
		"gemini-2.5-pro xhigh":          "true  24576",
		"gemini-2.0-flash default":      "none",
		"gemini-flash-latest medium":    "true medium 0",
		"gemini-flash-latest ":          "true  0",
		"gemini-2.0-flash ":             "none",
		"gemini-2.5-flash-image ":       "none",
		"gemma-3-27b-it ":               "none",
	} {
		model, effort, _ := strings.Cut(asked, " ")
		got := "none"
		if c := think(model, effort); c != nil {
			got = fmt.Sprintf("%v %s %d", c.IncludeThoughts, c.Level, c.Budget)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", asked, got, want)
		}
	}
}
