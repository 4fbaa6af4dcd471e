package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/llm"
	"github.com/parleybus/parley/internal/llm/catalog"
	"github.com/parleybus/parley/internal/llm/openai"
	"github.com/parleybus/parley/internal/topology"
)

// stage is a deployment in this process, in a temporary directory: server,
// orchestrator and llm-worker in their usual form, and a connection each for the
// viewers and for raw publishing.
type stage struct {
	clock    time.Time
	provider *provider
	viewers  *bus.Bus
	raw      *bus.Bus

	dir    string
	server *broker.Broker
	roles  *bus.Bus
	stop   context.CancelFunc
	done   chan error
}

const providerName = "bench"

// openStage starts a deployment. slots bounds the concurrent generations.
func openStage(ctx context.Context, slots int) (s *stage, err error) {
	s = &stage{clock: time.Now(), provider: &provider{}, stop: func() {}}
	if s.dir, err = os.MkdirTemp("", "parley-bench-"); err != nil {
		return nil, fmt.Errorf("make a directory for the server: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.server, err = broker.Start(broker.Config{Dir: s.dir, Port: -1, Log: log}); err != nil {
		return s, err
	}
	for _, b := range []**bus.Bus{&s.roles, &s.viewers, &s.raw} {
		cfg := bus.Config{Name: "parley bench", Log: log}.InProcess(s.server.InProcess())
		if *b, err = bus.Connect(ctx, cfg, &topology.Plan{Shards: 1}); err != nil {
			return s, err
		}
	}
	return s, s.runRoles(ctx, log, slots)
}

func (s *stage) runRoles(ctx context.Context, log *slog.Logger, slots int) error {
	models := &catalog.Catalog{Default: providerName + "/stream", Entries: map[string]catalog.Entry{
		// Wrapped as catalog.Open wraps its providers.
		providerName: {Provider: llm.Guard(llm.Fallback(s.provider), 2*time.Minute), Model: "stream"},
	}}
	cfg := daemon.Config{Name: "bench", Slots: slots}
	owned := make(chan struct{}, 1)
	roles := []daemon.Role{
		llmworker.Role(cfg, log, models, nil),
		orchestrator.Role(cfg, log, func(int) {
			select {
			case owned <- struct{}{}:
			default:
			}
		}, nil),
	}
	run, stop := context.WithCancel(ctx)
	s.stop, s.done = stop, make(chan error, 1)
	go func() { s.done <- daemon.RunRoles(run, s.roles, roles, nil) }()
	select {
	case <-owned:
		return nil
	case err := <-s.done:
		s.done = nil
		return errors.Join(err, ctx.Err())
	}
}

// stopRoles ends orchestrator and worker; it may be called again.
func (s *stage) stopRoles() error {
	s.stop()
	if s.done == nil {
		return nil
	}
	err := <-s.done
	s.done = nil
	return err
}

// Close ends everything and removes the directory.
func (s *stage) Close() error {
	err := s.stopRoles()
	for _, b := range []*bus.Bus{s.roles, s.viewers, s.raw} {
		if b != nil {
			b.Close()
		}
	}
	if s.server != nil {
		err = errors.Join(err, s.server.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// send publishes a user's message.
func (s *stage) send(ctx context.Context, conversation, text string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = s.viewers.Conversation(conversation).Publish(ctx, id.String(), &events.UserMessage{ID: id.String(), Text: text})
	return err
}

// provider answers in OpenAI's wire format, which the OpenAI adapter decodes. The
// user's message selects the answer.
type provider struct {
	paces sync.Map // text of a user's message to *pacer
	// asked returns the pacer of a user's message that another process has sent, or nil.
	asked atomic.Pointer[func(text string) *pacer]
}

// Name implements [llm.Provider].
func (*provider) Name() string { return providerName }

// Capabilities implements [llm.Provider].
func (*provider) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true}
}

// Stream implements [llm.Provider].
func (p *provider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	last := req.Messages[len(req.Messages)-1]
	if last.Role == events.RoleTool {
		return openai.Decode(strings.NewReader(string(appendChunk(nil, 0)) + chunkStop))
	}
	if pace := p.pace(last.Parts[0].Text); pace != nil {
		select {
		case pace.row.ready <- struct{}{}:
		default: // a retry: the row has its token already
		}
		return openai.Decode(&answerBody{ctx: ctx, pace: pace})
	}
	return openai.Decode(toolCallAnswer())
}

func (p *provider) pace(text string) *pacer {
	if v, ok := p.paces.Load(text); ok {
		return v.(*pacer)
	}
	if asked := p.asked.Load(); asked != nil {
		return (*asked)(text)
	}
	return nil
}

// toolCallAnswer is an answer that calls the tool.
func toolCallAnswer() io.Reader {
	return strings.NewReader(`data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_bench","type":"function","function":{"name":"` + toolName + `","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\":"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: [DONE]

`)
}
