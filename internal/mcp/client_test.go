package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/mcp"
	"github.com/parleybus/parley/internal/tool"
	"github.com/parleybus/parley/internal/tool/tooltest"
)

// everyWay runs a test against the whole peer over each transport.
func everyWay(t *testing.T, f func(t *testing.T, r *running)) {
	t.Helper()
	t.Run("over stdio", func(t *testing.T) {
		f(t, run(t, self(t, "tools", "PARLEY_TEST_DIR="+t.TempDir())))
	})
	t.Run("over HTTP with sessions", func(t *testing.T) { f(t, run(t, mcp.Server{URL: overHTTP(t, false)})) })
	t.Run("over HTTP without sessions", func(t *testing.T) { f(t, run(t, mcp.Server{URL: overHTTP(t, true)})) })
}

// overHTTP serves the peer by streamable HTTP and gives its URL.
func overHTTP(t *testing.T, stateless bool) string {
	t.Helper()
	s := peer()
	h := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &sdk.StreamableHTTPOptions{
		Stateless: stateless, PropagateRequestCancellation: true, MaxRequestBodyBytes: 16 << 20})
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		for session := range s.Sessions() {
			if err := session.Close(); err != nil {
				t.Log(err)
			}
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

func TestToolsOfAServerAreListedPageByPageWithWhatTheySay(t *testing.T) {
	everyWay(t, func(t *testing.T, r *running) {
		r.until("all tools", func(names []string) bool { return len(names) > 10 })
		specs := map[string]events.ToolSpec{}
		for _, s := range r.tools.Specs() {
			specs[s.Name] = s
		}
		if s := specs["echo"]; s.Description != "Says it again" || s.Effect != events.EffectPure || !strings.Contains(string(s.Schema), "what to say") {
			t.Errorf("echo is %+v", s)
		}
		if s := specs["sum"]; s.Effect != events.EffectIdempotent || !strings.Contains(string(s.Output), `"sum"`) {
			t.Errorf("sum is %+v", s)
		}
		if s := specs["fail"]; s.Effect != events.EffectOnce {
			t.Errorf("fail is %+v", s)
		}
	})
}

func TestCallsComeToResults(t *testing.T) {
	everyWay(t, func(t *testing.T, r *running) {
		t.Run("text", func(t *testing.T) {
			got, err := r.call(t.Context(), "echo", tool.Input{Arguments: json.RawMessage(`{"text":"hé"}`)})
			if err != nil || got.Content != "you said hé" || got.Structured != nil || got.Attachments != nil {
				t.Errorf("got %+v, %v", got, err)
			}
		})
		t.Run("structured content, and its text where there is none", func(t *testing.T) {
			got, err := r.call(t.Context(), "sum", tool.Input{Arguments: json.RawMessage(`{"a":40,"b":2}`)})
			if err != nil || string(got.Structured) != `{"sum":42}` || got.Content != `{"sum":42}` {
				t.Errorf("got %+v, %v", got, err)
			}
		})
		t.Run("isError is a failure that the model reads", func(t *testing.T) {
			_, err := r.call(t.Context(), "fail", tool.Input{})
			tooltest.Failed(t, err, "the disk is full: free some space")
		})
		t.Run("images, audio and resources are attached, each with a line", func(t *testing.T) {
			got, err := r.call(t.Context(), "media", tool.Input{})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Look:", "[image, image/png, 4 bytes]", "[audio, audio/wav, 4 bytes]", "[resource peer://poem, text/plain, 13 bytes]",
				"Roses are red", "[resource peer://report: report, of the year]", "[resource https://example.com/not-here: elsewhere]"} {
				if !strings.Contains(got.Content, want) {
					t.Errorf("%q is not in %q", want, got.Content)
				}
			}
			var files []string
			for _, a := range got.Attachments {
				files = append(files, fmt.Sprintf("%s %s %s", a.Name, a.MIME, a.Data))
			}
			want := []string{" image/png \x89PNG", " audio/wav RIFF", "peer://poem text/plain Roses are red", "peer://report text/csv a,b\n1,2\n"}
			if !slices.Equal(files, want) {
				t.Errorf("attached %q, want %q", files, want)
			}
		})
		t.Run("6 MB of text", func(t *testing.T) {
			got, err := r.call(t.Context(), "big", tool.Input{Arguments: json.RawMessage(`{"a":6,"b":0}`)})
			if err != nil || len(got.Content) != 6<<20 {
				t.Errorf("got %d bytes, %v", len(got.Content), err)
			}
		})
		t.Run("5 MB of arguments", func(t *testing.T) {
			args, err := json.Marshal(words{Text: strings.Repeat("x", 5<<20)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.call(t.Context(), "length", tool.Input{Arguments: args})
			if err != nil || got.Content != fmt.Sprint(5<<20) {
				t.Errorf("got %.100q, %v", got.Content, err)
			}
		})
	})
}

func TestProgressIsShownWhileTheCallRuns(t *testing.T) {
	everyWay(t, func(t *testing.T, r *running) {
		shown := make(chan string, 10)
		ended := make(chan error, 1)
		r.has("progress")
		go func() {
			_, err := r.call(context.Background(), "progress", tool.Input{Output: func(text string) { shown <- text }})
			ended <- err
		}()
		for _, want := range []string{"1/3 step\uFFFD\n", "2/3 step\uFFFD\n", "3/3 step\uFFFD\n"} {
			if got := <-shown; got != want {
				t.Errorf("shown %q, want %q", got, want)
			}
		}
		if _, err := r.call(t.Context(), "release", tool.Input{}); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestACancelledCallIsCancelledAtTheServer(t *testing.T) {
	everyWay(t, func(t *testing.T, r *running) {
		r.has("wait")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := r.call(ctx, "wait", tool.Input{Output: func(string) { cancel() }})
		if !errors.Is(err, context.Canceled) || tool.StatusOf(err) != events.StatusCancelled {
			t.Errorf("got %v", err)
		}
		if got, err := r.call(t.Context(), "cancelled", tool.Input{}); err != nil || got.Content != "it was" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestChangesOfTheListAreFollowed(t *testing.T) {
	everyWay(t, func(t *testing.T, r *running) {
		if _, err := r.call(t.Context(), "grow", tool.Input{}); err != nil {
			t.Fatal(err)
		}
		r.until("the new tool, and the old one gone", func(names []string) bool {
			return slices.Contains(names, "grown") && !slices.Contains(names, "fail")
		})
		if got, err := r.call(t.Context(), "grown", tool.Input{}); err != nil || got.Content != "new" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestAQuestionOfAServerIsAskedOfThePersonWhoseCallItIs(t *testing.T) {
	asked := func(a tool.Answer, err error) func(context.Context, tool.Question) (tool.Answer, error) {
		return func(_ context.Context, q tool.Question) (tool.Answer, error) {
			if q.Message != "Who are you?" || !strings.Contains(string(q.Schema), `"name"`) {
				return tool.Answer{}, fmt.Errorf("asked %+v", q)
			}
			return a, err
		}
	}
	for _, c := range []struct {
		name string
		ask  func(context.Context, tool.Question) (tool.Answer, error)
		want string
	}{
		{"an answer", asked(tool.Answer{Content: json.RawMessage(`{"name":"Ada"}`)}, nil), "accept Ada"},
		{"a no", asked(tool.Answer{Declined: true}, nil), "decline <nil>"},
		{"no answer", asked(tool.Answer{}, errors.New("nobody there")), "cancel <nil>"},
		{"nobody to ask", nil, "decline <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ways := map[string]func(t *testing.T) *running{
				"in the middle, over stdio":    func(t *testing.T) *running { return run(t, self(t, "tools")) },
				"in the middle, over HTTP":     func(t *testing.T) *running { return run(t, mcp.Server{URL: overHTTP(t, false)}) },
				"between two rounds over HTTP": func(t *testing.T) *running { return run(t, mcp.Server{URL: overHTTP(t, true)}) },
			}
			for name, way := range ways {
				t.Run(name, func(t *testing.T) {
					got, err := way(t).call(t.Context(), "ask", tool.Input{Ask: c.ask})
					if err != nil || got.Content != c.want {
						t.Errorf("got %+v, %v, want %q", got, err, c.want)
					}
				})
			}
		})
	}
}

func TestAQuestionThatNamesNoCallIsAskedOnlyWhereOneConversationRuns(t *testing.T) {
	for _, c := range []struct{ name, other, want string }{
		{"calls of one conversation", "a", "accept Ada"},
		{"calls of two conversations", "b", "decline <nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, mcp.Server{URL: overHTTP(t, false)})
			r.has("wait")
			ctx, cancel := context.WithCancel(t.Context())
			started, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := r.call(ctx, "wait", tool.Input{Conversation: c.other, Output: func(string) { close(started) }})
				ended <- err
			}()
			<-started
			got, err := r.call(t.Context(), "ask", tool.Input{Conversation: "a", Ask: func(context.Context, tool.Question) (tool.Answer, error) {
				return tool.Answer{Content: json.RawMessage(`{"name":"Ada"}`)}, nil
			}})
			if err != nil || got.Content != c.want {
				t.Errorf("got %+v, %v, want %q", got, err, c.want)
			}
			cancel()
			<-ended
			if _, err := r.call(t.Context(), "cancelled", tool.Input{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAServerThatAsksToOpenAPageIsNamedWithIt: nothing is opened, the person agrees
// or not; an address that is no page is declined without asking.
func TestAServerThatAsksToOpenAPageIsNamedWithIt(t *testing.T) {
	ways := map[string]func(t *testing.T) *running{
		"in the middle, over stdio":    func(t *testing.T) *running { return run(t, self(t, "tools")) },
		"in the middle, over HTTP":     func(t *testing.T) *running { return run(t, mcp.Server{URL: overHTTP(t, false)}) },
		"between two rounds over HTTP": func(t *testing.T) *running { return run(t, mcp.Server{URL: overHTTP(t, true)}) },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			r := way(t)
			for _, c := range []struct {
				tool, asked, want string
				answer            tool.Answer
			}{
				{"visit", "Log in on our page. https://peer.example/login?for=ada", "accept", tool.Answer{}},
				{"visit", "Log in on our page. https://peer.example/login?for=ada", "decline", tool.Answer{Declined: true}},
				{"lure", "", "decline", tool.Answer{}},
				{"locked", "Unlock it. https://peer.example/unlock", "unlocked", tool.Answer{}},
			} {
				asked := ""
				got, err := r.call(t.Context(), c.tool, tool.Input{Ask: func(_ context.Context, q tool.Question) (tool.Answer, error) {
					asked = q.Message + " " + q.URL
					if q.Server == "" || q.Schema != nil {
						t.Errorf("%s asks %+v", c.tool, q)
					}
					return c.answer, nil
				}})
				if err != nil || got.Content != c.want || asked != c.asked {
					t.Errorf("%s asked %q and said %+v, %v; want %q and %q", c.tool, asked, got, err, c.asked, c.want)
				}
			}
			// Without an agreement the call did not run.
			got, err := r.call(t.Context(), "locked", tool.Input{Ask: func(context.Context, tool.Question) (tool.Answer, error) { return tool.Answer{Declined: true}, nil }})
			if err == nil || tool.StatusOf(err) != events.StatusFailed {
				t.Errorf("a call that needs a page gave %+v, %v", got, err)
			}
		})
	}
}
