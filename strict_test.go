package parley_test

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// strict is a host that refuses what the real host of its wire is documented to
// refuse, and answers by the last text of the request:
//
//   - "use the tool": reasoning and a call with arguments that only lenient parsers take;
//   - "use many tools": calls of a tool that works, of one that fails, and of none;
//   - "take a picture", "wait", "doom": a call of the tool shot, wait or doom;
//   - "fail": a refusal of the key;
//   - "be slow": half an answer, then silence; "be slow with a call": half a call;
//   - "say nothing": white space;
//   - anything else: reasoning and a text.
type strict struct {
	t     *testing.T
	check func(h *strict, r *http.Request, body map[string]any) string // why it refuses
	write func(w http.ResponseWriter, a strictAnswer)
	// status is that of refusals; 400 if it is 0.
	status int

	mu     sync.Mutex
	n      int
	issued map[string]issued // what was handed out: signatures, encrypted reasoning, ids
	talks  map[string]*strictTalk
}

// strictTalk is what a host has seen of one conversation.
type strictTalk struct {
	refused []string
	last    map[string]string // the last request that was answered, by model
}

// issued is to what a signature is bound.
type issued struct{ model, prefix string }

// strictAnswer is one answer. One that is cut has no end.
type strictAnswer struct {
	model, carry, text string
	calls              []strictCall
	cut                bool
}

type strictCall struct{ id, name, arguments string }

func (a strictAnswer) thought() string { return thoughtOf(a.model) }

func thoughtOf(model any) string { return fmt.Sprintf("thought of %v", model) }

func newStrict(t *testing.T, check func(*strict, *http.Request, map[string]any) string, write func(http.ResponseWriter, strictAnswer)) (*strict, string) {
	h := &strict{t: t, check: check, write: write, issued: map[string]issued{}, talks: map[string]*strictTalk{}}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s.URL
}

// conversationIn finds the conversation, which the tests put into the system prompt.
var conversationIn = regexp.MustCompile(`Conversation ([0-9a-f-]{36})`)

// ServeHTTP implements [http.Handler].
func (h *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var body map[string]any
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || json.Unmarshal(raw, &body) != nil {
		h.refuse(w, "", "the body is not JSON")
		return
	}
	if r.URL.Path == "/api/show" {
		writeShow(w, body["model"])
		return
	}
	if named := geminiModel.FindStringSubmatch(r.URL.Path); named != nil {
		body["model"] = named[1]
	}
	conversation := ""
	if found := conversationIn.FindSubmatch(raw); found != nil {
		conversation = string(found[1])
	}
	if loneSurrogate.Match(raw) {
		h.refuse(w, conversation, "the request body is not valid JSON: no low surrogate in string")
		return
	}
	if why := h.check(h, r, body); why != "" {
		h.refuse(w, conversation, why)
		return
	}
	last := lastSaid(body)
	if strings.HasSuffix(last, "fail") {
		http.Error(w, `{"error":{"message":"invalid api key"}}`, http.StatusUnauthorized)
		return
	}
	a := h.answer(body, last)
	h.talk(conversation).last[a.model] = string(raw)
	h.write(w, a)
	if !a.cut {
		return
	}
	w.(http.Flusher).Flush()
	h.mu.Unlock()
	<-r.Context().Done()
	h.mu.Lock()
}

// answer returns the answer to the last text.
func (h *strict) answer(body map[string]any, last string) strictAnswer {
	h.n++
	model := body["model"].(string)
	a := strictAnswer{model: model, carry: fmt.Sprintf("sig-%s-%d", model, h.n)}
	h.issued[a.carry] = issued{model, prefixOf(body, -1)}
	call := func(name, arguments string) {
		c := strictCall{fmt.Sprintf("call%04d%d", h.n, len(a.calls)), name, arguments}
		h.issued[c.id] = issued{model: model}
		a.calls = append(a.calls, c)
	}
	switch {
	case strings.HasSuffix(last, "be slow"):
		a.text, a.cut = "half an answer", true
	case strings.HasSuffix(last, "be slow with a call"):
		a.cut = true
		call("lookup", `{"q":"half`)
	case strings.HasSuffix(last, "say nothing"):
		a.text = "\n\n"
	case strings.HasSuffix(last, "use the tool"):
		call("lookup", badArguments)
	case strings.HasSuffix(last, "use many tools"):
		call("lookup", badArguments)
		call("breaks", `{}`)
		call("multi_tool_use.parallel", `{"tool_uses":[]}`)
	case strings.HasSuffix(last, "take a picture"):
		call("shot", `{}`)
	case strings.HasSuffix(last, "wait"):
		call("wait", `{}`)
	case strings.HasSuffix(last, "doom"):
		call("doom", `{}`)
	default:
		a.text = "answer of " + model
	}
	return a
}

// talk returns what was seen of a conversation.
func (h *strict) talk(conversation string) *strictTalk {
	if h.talks[conversation] == nil {
		h.talks[conversation] = &strictTalk{last: map[string]string{}}
	}
	return h.talks[conversation]
}

// refusals returns why requests of a conversation were refused since the last call; ""
// for a conversation that its system prompt does not name.
func (h *strict) refusals(conversation string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.talk(conversation).refused
	h.talk(conversation).refused = nil
	return all
}

// lastRequest returns the last request to a model that was answered.
func (h *strict) lastRequest(conversation, model string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.talk(conversation).last[model]
}

func (h *strict) refuse(w http.ResponseWriter, conversation, why string) {
	h.talk(conversation).refused = append(h.talk(conversation).refused, why)
	raw, _ := json.Marshal(map[string]any{"type": "error", "error": map[string]any{"type": "invalid_request_error", "message": why}})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(cmp.Or(h.status, http.StatusBadRequest))
	_, _ = w.Write(raw)
}

// loneSurrogate finds an escape of a first half without its second, if no backslash is
// before it.
var loneSurrogate = regexp.MustCompile(`(?:^|[^\\])(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?:[^\\]|\\[^u])`)

// listOf returns the messages of a request, whatever the wire.
func listOf(body map[string]any) []map[string]any {
	for _, key := range []string{"messages", "input", "contents"} {
		if body[key] != nil {
			return objects(body[key])
		}
	}
	return nil
}

// objects returns the objects of a list; none if it is no list.
func objects(list any) []map[string]any {
	var all []map[string]any
	elements, _ := list.([]any)
	for _, m := range elements {
		object, _ := m.(map[string]any)
		all = append(all, object)
	}
	return all
}

// lastSaid returns the last text of a request, of a person or of a result.
func lastSaid(body map[string]any) string {
	all := listOf(body)
	v := any(all[len(all)-1])
	for {
		switch now := v.(type) {
		case string:
			return now
		case []any:
			if len(now) == 0 {
				return ""
			}
			v = now[len(now)-1]
		case map[string]any:
			v = nil
			for _, key := range []string{"text", "content", "parts", "output", "error", "functionResponse", "response"} {
				if v == nil {
					v = now[key]
				}
			}
		default:
			return ""
		}
	}
}

// unknownKey returns a key of an object that is none of the documented ones.
func unknownKey(object map[string]any, known ...string) string {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(known, key) {
			return key
		}
	}
	return ""
}

// isPicture reports whether a text is an image in base64 of the media type.
func isPicture(mime, data any) bool {
	s, _ := data.(string)
	raw, err := base64.StdEncoding.DecodeString(s)
	return err == nil && mime == "image/png" && strings.HasPrefix(string(raw), pngHead)
}

// isPictureURL reports whether a text is a data URL of an image.
func isPictureURL(url any) bool {
	s, _ := url.(string)
	mime, data, ok := strings.Cut(strings.TrimPrefix(s, "data:"), ";base64,")
	return ok && isPicture(mime, data)
}

// unmarked is a part of a request without its marks for the cache, which a model does
// not read.
func unmarked(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = unmarked(e)
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = unmarked(e)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if k != "cache_control" {
				out[k] = unmarked(e)
			}
		}
		return out
	}
	return v
}

// prefixOf returns what a model reads before a message; -1 is the end.
func prefixOf(body map[string]any, upTo int) string {
	all := listOf(body)
	if upTo < 0 {
		upTo = len(all)
	}
	raw, _ := json.Marshal(unmarked([]any{body["system"], body["tools"], all[:upTo]}))
	return string(raw)
}

func stream(w http.ResponseWriter, named bool, payloads ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, p := range payloads {
		var e struct {
			Type string `json:"type"`
		}
		if named && json.Unmarshal([]byte(p), &e) == nil {
			_, _ = fmt.Fprintf(w, "event: %s\n", e.Type)
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", p)
	}
}

// badArguments are the arguments of a call: valid for a lenient parser only.
const badArguments = `{"q":"\ud99c x"}`

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}
