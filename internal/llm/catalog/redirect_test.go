package catalog_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
)

// TestARedirectGetsNoKey: a provider that redirects to another host does not make the
// request, which has the key and the conversation, go there.
func TestARedirectGetsNoKey(t *testing.T) {
	var got atomic.Value
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("X-Api-Key") + r.Header.Get("X-Goog-Api-Key") + r.Header.Get("Authorization") + " to " + r.URL.Path)
	}))
	t.Cleanup(thief.Close)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL+"/stolen?key="+url.QueryEscape(r.Header.Get("X-Api-Key")), status)
		}))
		env := map[string]string{"OPENAI_API_KEY": "openai-key-1", "OPENAI_BASE_URL": home.URL + "/v1", "ANTHROPIC_API_KEY": "anthropic-key", "ANTHROPIC_BASE_URL": home.URL, "GEMINI_API_KEY": "gemini-key", "GEMINI_BASE_URL": home.URL, "OLLAMA_HOST": home.URL}
		c, err := catalog.Open(t.Context(), catalog.Options{Getenv: func(k string) string { return env[k] }, Idle: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for name, e := range c.Entries {
			if name == catalog.Scripted {
				continue
			}
			var end *events.GenerationEnded
			for e := range e.Provider.Stream(t.Context(), llm.Request{Model: "m", Messages: []events.Message{{Role: events.RoleUser, Parts: []events.Part{{Kind: events.PartText, Text: "hello"}}}}}) {
				if last, ok := e.(*events.GenerationEnded); ok {
					end = last
				}
			}
			if end == nil || end.Error == nil || end.Error.Retryable() || !strings.Contains(end.Error.Message, "redirects to "+thief.URL) || strings.Contains(end.Error.Message, "key=") {
				t.Errorf("%s ended with %+v after HTTP %d", name, end, status)
			}
			if stolen := got.Swap(""); stolen != nil && stolen != "" {
				t.Errorf("%s: HTTP %d takes %s", name, status, stolen)
			}
		}
		home.Close()
	}
}
