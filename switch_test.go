package parley_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/hook"
	"github.com/parleybus/parley/internal/llm/anthropic"
	"github.com/parleybus/parley/internal/llm/gemini"
	"github.com/parleybus/parley/internal/llm/ollama"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/llm/openairesponses"
	"github.com/parleybus/parley/model"
	"github.com/parleybus/parley/tool"
)

// wire is a provider's wire, its strict host, and two models.
type wire struct {
	host   *strict
	served model.Served
	models [2]string
	silent bool     // it keeps its reasoning
	plain  bool     // its answers have nothing that belongs to them
	blind  []string // models that take no images and say so by a refusal
}

// elsewhere sends the requests for a provider's own host to a test's.
type elsewhere struct{ host string }

// RoundTrip implements [http.RoundTripper].
func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", e.host
	return http.DefaultTransport.RoundTrip(r)
}

func at(t *testing.T, host string) *http.Client {
	t.Helper()
	u, err := url.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: elsewhere{u.Host}}
}

func wires(t *testing.T) map[string]*wire {
	t.Helper()
	claude, claudeURL := newStrict(t, checkAnthropic, writeAnthropic)
	chat, chatURL := newStrict(t, checkOpenAI, writeOpenAI)
	compatible, compatibleURL := newStrict(t, checkCompatible, writeCompatible)
	responses, responsesURL := newStrict(t, checkResponses, writeResponses)
	templated, templatedURL := newStrict(t, checkTemplated, writeResponses)
	local, localURL := newStrict(t, checkOllama, writeOllama)
	google, googleURL := newStrict(t, checkGemini, writeGemini)
	return map[string]*wire{
		"anthropic": {host: claude, served: model.Served{Provider: anthropic.New(anthropic.Config{BaseURL: claudeURL}), Model: "claude-fable-5-1"},
			models: [2]string{"anthropic/claude-fable-5-1", "anthropic/claude-sonnet-4-5"}},
		"openai": {host: chat, served: model.Served{Provider: openai.New(openai.Config{HTTPClient: at(t, chatURL)}), Model: "gpt-5.2"},
			models: [2]string{"openai/gpt-5.2", "openai/gpt-5-mini"}, silent: true, plain: true},
		"compatible": {host: compatible, served: model.Served{Provider: openai.New(openai.Config{Name: "compatible", BaseURL: compatibleURL}), Model: "deepseek-chat"},
			models: [2]string{"compatible/deepseek-chat", "compatible/" + seeing}, blind: []string{"deepseek-chat"}},
		"openai-responses": {host: responses, served: model.Served{Provider: openairesponses.New(openairesponses.Config{HTTPClient: at(t, responsesURL)}), Model: "gpt-5-mini"},
			models: [2]string{"openai-responses/gpt-5-mini", "openai-responses/gpt-5"}},
		"templated": {host: templated, served: model.Served{Provider: openairesponses.New(openairesponses.Config{Name: "templated", BaseURL: templatedURL}), Model: "gpt-oss-20b"},
			models: [2]string{"templated/gpt-oss-20b", "templated/gpt-oss-120b"}},
		"ollama": {host: local, served: model.Served{Provider: ollama.New(ollama.Config{Host: localURL}), Model: "qwen3-vl"},
			models: [2]string{"ollama/qwen3-vl", "ollama/" + blindLocal}, plain: true},
		"gemini": {host: google, served: model.Served{Provider: gemini.New(gemini.Config{BaseURL: googleURL}), Model: "gemini-3-flash-preview"},
			models: [2]string{"gemini/gemini-3-flash-preview", "gemini/gemini-3.1-pro-preview"}},
	}
}

// lookup is a tool that finds everything. Its schema has what hosts refuse in different
// ways.
func lookup() tool.Tool {
	const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"q":{"$ref":"#/$defs/text","description":"what to look up"}},"required":["q"],"$defs":{"text":{"type":"string","minLength":1,"pattern":"."}}}`
	type query struct {
		Q string `json:"q"`
	}
	return tool.Func("lookup", "Looks it up", func(_ context.Context, in query) (string, error) {
		return "found " + in.Q, nil
	}, tool.Pure(), tool.InputSchema(schema))
}

// picture is an image of one pixel.
func picture(t *testing.T) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sceneTools are the tools of the conversations: one works, one fails, one returns an
// image, one runs until it is stopped, and after one the host fails.
func sceneTools(image []byte) []tool.Tool {
	type none struct{}
	return []tool.Tool{lookup(),
		tool.Func("breaks", "Fails", func(context.Context, none) (string, error) { return "", tool.Fail("it broke") }, tool.Pure()),
		tool.Func("shot", "Takes a picture", func(context.Context, none) (tool.Attachment, error) {
			return tool.Attachment{Name: "shot.png", Data: image}, nil
		}, tool.Pure()),
		tool.Func("wait", "Waits", func(ctx context.Context, _ none) (string, error) {
			tool.Progress(ctx, "it waits")
			<-ctx.Done()
			return "", ctx.Err()
		}, tool.Pure()),
		tool.Func("doom", "Dooms", func(context.Context, none) (string, error) { return "the next request will fail", nil }, tool.Pure()),
	}
}

// TestAConversationGoesOnWithEveryOtherModel holds one conversation with each ordered
// pair of wires, at hosts that refuse what the real ones do: turns with tools, parallel calls, errors, reasoning,
// images, failures, cancels and empty answers, and a hook that changes the system
// prompt each time.
func TestAConversationGoesOnWithEveryOtherModel(t *testing.T) {
	all := wires(t)
	image := picture(t)
	o := embedded.Options{Dir: t.TempDir(), Port: -1, NoBuiltins: true, Tools: sceneTools(image)}
	for _, w := range all {
		o.Models = append(o.Models, w.served)
	}
	p, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var turns atomic.Int64
	var serving sync.WaitGroup
	serving.Go(func() {
		err := hook.Serve(ctx, parley.Config{URL: p.Server()}, hook.Before, "clock", func(context.Context, *hook.Call) (*hook.Answer, error) {
			return &hook.Answer{Context: fmt.Sprintf("It is turn %d.", turns.Add(1))}, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("pairs", func(t *testing.T) {
		for first, a := range all {
			for second, b := range all {
				if first == "templated" && second != first {
					continue // a second host of the same wire
				}
				models := [2]string{a.models[0], b.models[1]}
				t.Run(strings.Join(models[:], " and "), func(t *testing.T) {
					t.Parallel()
					talk := &talk{p: p, image: image, models: models, wires: [2]*wire{a, b}}
					talk.hold(t)
				})
			}
		}
	})
	stop()
	serving.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// talk is a conversation with two models in turns.
type talk struct {
	p      *embedded.Parley
	image  []byte
	models [2]string
	wires  [2]*wire
}

func (k *talk) hold(t *testing.T) {
	conv := k.p.Conversation(parley.NewID())
	settings := parley.WithSettings(parley.Settings{System: "Conversation " + conv.ID() + ".", Parameters: parley.Parameters{ReasoningEffort: "low"}, Hooks: []parley.Hook{{Name: "clock", When: parley.HookBefore}}})
	var want, said []string
	for i, x := range exchanges() {
		w := k.wires[i%2]
		options := []parley.SendOption{settings, parley.WithModel(k.models[i%2])}
		if x.image {
			options = append(options, parley.WithFile("chart.png", k.image))
		}
		text := fmt.Sprintf("%d: %s", i+1, x.said)
		turn, err := conv.Send(t.Context(), text, options...)
		if err != nil {
			t.Fatal(err)
		}
		if x.stop != "" {
			stopAt(t, turn, x.stop)
		}
		result, err := turn.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if outcome := x.outcome(); result.Outcome != outcome {
			t.Fatalf("turn %d, %q to %s, ended as %s, not %s: %v; refused: %q", i+1, x.said, k.models[i%2], result.Outcome, outcome, result.Error, w.host.refusals(conv.ID()))
		}
		said = append(said, text)
		want = append(want, x.transcript(text, k.models[i%2], w)...)
	}
	k.refusals(t, conv)
	k.reads(t, conv, said)
	view, err := conv.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(view.Messages); !sameLines(got, want) {
		t.Errorf("the transcript is\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// stopAt cancels a turn when it has come to an event.
func stopAt(t *testing.T, turn *parley.Turn, event string) {
	t.Helper()
	for e, err := range turn.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Body.Type() == event {
			break
		}
	}
	if err := turn.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// refusals checks that the hosts refused nothing but what only a refusal shows: a field
// that a host demands, once for each model, and images that a model does not take.
func (k *talk) refusals(t *testing.T, conv *parley.Conversation) {
	t.Helper()
	demanded, images := map[string]int{}, 0
	for i, w := range k.wires {
		for _, why := range w.host.refusals(conv.ID()) {
			switch {
			case strings.Contains(why, "must be passed back"):
				demanded[w.served.Provider.Name()]++
			case strings.Contains(why, "unknown variant `image_url`") && w.blind != nil:
				images++
			default:
				t.Errorf("a request to %s was refused: %s", k.models[i], why)
			}
		}
	}
	for name, n := range demanded {
		if n > 2 {
			t.Errorf("%s demanded a field %d times: once for each model is enough", name, n)
		}
	}
	// The second one is refused again after a turn that failed: no answer has noted it.
	if images > 3 {
		t.Errorf("images were refused %d times: once for each new one is enough", images)
	}
	for _, left := range strings.Fields(reduced(t, conv)) {
		if left != "images" {
			t.Errorf("the history was sent without %s", left)
		}
	}
}

// reads checks that the last request to each model has everything that was said before,
// and both images if the model takes them.
func (k *talk) reads(t *testing.T, conv *parley.Conversation, said []string) {
	t.Helper()
	for i, w := range k.wires {
		_, name, _ := strings.Cut(k.models[i], "/")
		last := w.host.lastRequest(conv.ID(), name)
		for _, text := range said[:len(said)-1] {
			if !strings.Contains(last, text) {
				t.Errorf("the last request to %s lacks %q", k.models[i], text)
			}
		}
		want := 2
		if slices.Contains(w.blind, name) || name == blindLocal {
			want = 0
		}
		if n := strings.Count(last, base64.StdEncoding.EncodeToString(k.image)); n != want {
			t.Errorf("the last request to %s has %d images, not %d", k.models[i], n, want)
		}
	}
}
