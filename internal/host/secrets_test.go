package host_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/host"
)

// The secrets of these tests. Some of their characters have to be escaped in a URL
// and in JSON.
const (
	providerKey = `sk-live/9+Zq"7&mKd2w=`
	toolKey     = "shop-5f2b90e17c"
)

// echoes are the answers of a provider that repeats the request's Authorization
// header, by the model that is called.
func echoes(w http.ResponseWriter, r *http.Request) {
	var body struct{ Model string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil && r.Method == http.MethodPost {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := r.Header.Get("Authorization")
	_, key, _ := strings.Cut(header, " ")
	refuse := func(text string) {
		raw, err := json.Marshal(map[string]any{"error": map[string]string{"message": text, "code": "invalid_api_key"}})
		if err == nil {
			w.WriteHeader(http.StatusUnauthorized)
			_, err = w.Write(raw)
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	stream := func(events ...string) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", e) // the client may be gone
			w.(http.Flusher).Flush()
		}
	}
	chunk := func(text string) string {
		raw, _ := json.Marshal(text)
		return `{"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":` + string(raw) + `}}]}`
	}
	end := `{"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	switch {
	case strings.HasPrefix(r.URL.Path, "/else"):
		refuse("no such page " + r.URL.String())
	case body.Model == "refusal":
		refuse("the header Authorization: " + header + " is wrong")
	case body.Model == "plain":
		http.Error(w, "denied: "+header, http.StatusForbidden)
	case body.Model == "base64":
		refuse("denied: " + base64.StdEncoding.EncodeToString([]byte(header)) + " " + base64.RawURLEncoding.EncodeToString([]byte("a:"+key)))
	case body.Model == "escaped":
		refuse("denied: " + url.QueryEscape(header) + " " + url.PathEscape(header) + " " + hex.EncodeToString([]byte(header)))
	case body.Model == "redirect":
		http.Redirect(w, r, "/else?key="+url.QueryEscape(key), http.StatusFound)
	case body.Model == "event":
		raw, _ := json.Marshal(header)
		stream(chunk("Well"), `{"error":{"message":`+string(raw)+`,"code":"invalid_api_key"}}`)
	case body.Model == "text":
		stream(chunk("Your key is "+key[:5]), chunk(key[5:11]), chunk(key[11:]+", and "), chunk(key), end, "[DONE]")
	default:
		http.NotFound(w, r)
	}
}

// leaked returns the forms of a secret that a text has.
func leaked(text, secret string) []string {
	quoted, _ := json.Marshal(secret)
	forms := map[string]string{"plain": secret, "in JSON without HTML": strings.ReplaceAll(secret, `"`, `\"`), "in JSON": strings.Trim(string(quoted), `"`), "in a query": url.QueryEscape(secret), "in a path": url.PathEscape(secret), "hex": hex.EncodeToString([]byte(secret))}
	for _, before := range []string{"", "Bearer ", "a:"} {
		// Without the characters that depend on what is before and after it.
		from, to := (len(before)*8+5)/6, len(before+secret)*8/6
		forms["base64 after "+before] = base64.RawStdEncoding.EncodeToString([]byte(before + secret))[from:to]
		forms["base64 for URLs after "+before] = base64.RawURLEncoding.EncodeToString([]byte(before + secret))[from:to]
	}
	var found []string
	for name, form := range forms {
		if strings.Contains(text, form) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// record is a log that can be read while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// stored is everything that is in the streams of a server, by stream: subjects,
// headers and payloads.
func stored(t *testing.T, s *host.Session) map[string]string {
	t.Helper()
	b, err := s.Bus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, js := b.Raw()
	all := map[string]string{}
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		state := stream.CachedInfo().State
		for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if err == nil {
				fmt.Fprintf(&text, "%s %v %s\n", m.Subject, m.Header, m.Data)
			} else if !strings.Contains(err.Error(), jetstream.ErrMsgNotFound.Error()) {
				t.Fatal(err)
			}
		}
		all[name] = text.String()
	}
	if names.Err() != nil || all["CONV_0"] == "" {
		t.Fatalf("the streams cannot be read: %v", names.Err())
	}
	return all
}

// asked has a model answer and returns the turn's end.
func asked(t *testing.T, s *host.Session, route string) *parley.TurnEnded {
	t.Helper()
	conv := s.Conversation(parley.NewID())
	if _, err := conv.Publish(t.Context(), &parley.Settings{Route: route}); err != nil {
		t.Fatal(err)
	}
	return endOf(t, conv, "Hello?")
}

// TestKeysAppearNowhere: a provider repeats its key in refusals, errors, redirects
// and text, and an endpoint and a program repeat theirs in results. No stream, no
// log line and no metric has one, in any form.
func TestKeysAppearNowhere(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(echoes))
	t.Cleanup(provider.Close)
	for name, value := range map[string]string{"OPENAI_API_KEY": providerKey, "OPENAI_BASE_URL": provider.URL + "/v1", "SHOP_KEY": toolKey, "OLLAMA_HOST": "127.0.0.1:1"} {
		t.Setenv(name, value)
	}
	file := filepath.Join(t.TempDir(), "tools.yaml")
	if err := os.WriteFile(file, []byte(`
tools:
- name: echo
  description: repeats its request
  effect: pure
  http: {url: "`+provider.URL+`/else", allow: ["127.0.0.1"], headers: {Authorization: "Bearer ${SHOP_KEY}"}, query: {q: "${SHOP_KEY}"}}
- name: program
  description: prints its key
  effect: pure
  exec: {command: [sh, -c, 'echo $KEY; echo $KEY | base64'], env: {set: {KEY: "${SHOP_KEY}"}}}
- name: broken
  description: fails with its key
  effect: pure
  exec: {command: [sh, -c, 'echo $KEY >&2; exit 3'], env: {set: {KEY: "${SHOP_KEY}"}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := daemon.Defaults(bus.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name, cfg.ToolsFile, cfg.LogLevel = "a", file, "debug"
	logged := &record{}
	log, err := cfg.Logger(logged)
	if err != nil {
		t.Fatal(err)
	}
	h := &host.Host{Dir: t.TempDir(), Config: cfg, Connection: "test", Log: log}
	s, err := h.JoinOrServe(t.Context())
	closed(t, s, err)

	var ends []string
	for _, model := range []string{"refusal", "plain", "base64", "escaped", "redirect", "event", "text"} {
		end := asked(t, s, "openai/"+model)
		ends = append(ends, fmt.Sprintf("%s: %s %s", model, end.Outcome, end.Reason))
	}
	if text := strings.Join(ends, "\n"); strings.Count(text, "failed") != 6 || !strings.Contains(text, "text: completed") {
		t.Fatalf("the turns ended as\n%s", text)
	}
	b, err := s.Bus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	offers, err := s.Offers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"echo", "program", "broken"} {
		result, err := b.Jobs().Call(t.Context(), bus.Call{Tool: *parley.SpecOf(offers, name), Arguments: json.RawMessage("{}"), Output: func(text string) { ends = append(ends, text) }})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, fmt.Sprintf("%s: %s %s", name, result.Status, result.Content))
	}
	all := stored(t, s)
	all["the log"], all["what was returned"] = logged.String(), strings.Join(ends, "\n")
	for where, text := range all {
		for _, secret := range []string{providerKey, toolKey} {
			if forms := leaked(text, secret); len(forms) > 0 {
				t.Errorf("%s has the secret %s: %v", where, secret, forms)
			}
		}
	}
	if !strings.Contains(all["CONV_0"], "Your key is ") || !strings.Contains(all["CONV_0"], ", and ") {
		t.Error("more of the answer is gone than the key")
	}
	t.Log(all["what was returned"])
}

// TestURLsAreShownWithoutPasswords: whatever characters a password has.
func TestURLsAreShownWithoutPasswords(t *testing.T) {
	for _, password := range []string{"pa@ss/word", "pa%ssword", "pa#ssword", "pa?ssword", "pa:ss@wo/rd?x#y", "pa,ssword"} {
		for _, at := range []string{"nats://user:" + password + "@127.0.0.1:1", "nats://h:1,nats://user:" + password + "@127.0.0.1:1", "nats://" + password + "@127.0.0.1:1", "user:" + password + "@127.0.0.1:1"} {
			cfg, err := daemon.Defaults(func(name string) string { return map[string]string{"NATS_URL": at}[name] })
			if err != nil {
				t.Fatal(err)
			}
			logged := &record{}
			log, err := cfg.Logger(logged)
			if err != nil {
				t.Fatal(err)
			}
			h := &host.Host{Config: cfg, Connection: "test", Log: log}
			_, err = h.Join(t.Context())
			if err == nil {
				t.Fatalf("%s answers", at)
			}
			log.Warn("cannot connect to "+at, "error", err, "url", at)
			for _, part := range []string{"ssword", "ss/word", "word", "wo/rd", "rd?x"} {
				if strings.Contains(err.Error(), part) || strings.Contains(logged.String(), part) {
					t.Errorf("%s: the password is in %q, %q", at, err, logged)
					break
				}
			}
		}
	}
}
