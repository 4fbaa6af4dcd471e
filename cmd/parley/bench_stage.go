package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
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

// benchStage is a deployment in this process, in a directory of its own: server,
// orchestrator and llm-worker as everybody runs them, and a connection each for
// the viewers and for the publisher that publishes without Parley.
type benchStage struct {
	clock    time.Time
	provider *benchProvider
	viewers  *bus.Bus
	raw      *bus.Bus

	dir    string
	server *broker.Broker
	roles  *bus.Bus
	stop   context.CancelFunc
	done   chan error
}

const benchProviderName = "bench"

// openBenchStage starts it. slots is how many conversations generate at once at
// most.
func openBenchStage(ctx context.Context, slots int) (s *benchStage, err error) {
	s = &benchStage{clock: time.Now(), provider: &benchProvider{}, stop: func() {}}
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

func (s *benchStage) runRoles(ctx context.Context, log *slog.Logger, slots int) error {
	models := &catalog.Catalog{Default: benchProviderName + "/stream", Entries: map[string]catalog.Entry{
		// Wrapped as catalog.Open wraps its providers.
		benchProviderName: {Provider: llm.Guard(llm.Fallback(s.provider), 2*time.Minute), Model: "stream"},
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
func (s *benchStage) stopRoles() error {
	s.stop()
	if s.done == nil {
		return nil
	}
	err := <-s.done
	s.done = nil
	return err
}

// Close ends everything and removes the directory.
func (s *benchStage) Close() error {
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

// say publishes a user's message.
func (s *benchStage) say(ctx context.Context, conversation, text string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = s.viewers.Publish(ctx, conversation, id.String(), &events.UserMessage{ID: id.String(), Text: text})
	return err
}

// benchProvider answers in OpenAI's wire format, decoded by the adapter that
// decodes OpenAI. What it answers is named by the user's message.
type benchProvider struct {
	paces sync.Map // text of a user's message to *benchPace
}

// Name implements [llm.Provider].
func (*benchProvider) Name() string { return benchProviderName }

// Capabilities implements [llm.Provider].
func (*benchProvider) Capabilities(string) llm.Capabilities {
	return llm.Capabilities{Tools: true, StreamTools: true}
}

// Stream implements [llm.Provider].
func (p *benchProvider) Stream(ctx context.Context, req llm.Request) llm.Stream {
	last := req.Messages[len(req.Messages)-1]
	if last.Role == events.RoleTool {
		return openai.Decode(strings.NewReader(string(benchChunk(nil, 0)) + benchChunkStop))
	}
	if v, ok := p.paces.Load(last.Parts[0].Text); ok {
		pace := v.(*benchPace)
		select {
		case pace.row.ready <- struct{}{}:
		default: // asked again: the row has its tokens
		}
		return openai.Decode(&benchBody{ctx: ctx, pace: pace})
	}
	return openai.Decode(benchCall())
}

// benchCall is an answer that calls the tool.
func benchCall() io.Reader {
	return strings.NewReader(`data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_bench","type":"function","function":{"name":"` + benchTool + `","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"n\":"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: [DONE]

`)
}
