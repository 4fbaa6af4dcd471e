package tool_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/parleybus/parley/internal/broker"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
	"github.com/parleybus/parley/tool"
)

// begin starts a NATS server with Parley's streams.
func begin() (b *bus.Bus, end func()) {
	dir, err := os.MkdirTemp("", "parley-example")
	if err != nil {
		panic(err)
	}
	s, err := broker.Start(broker.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	b, err = bus.Connect(context.Background(), bus.Config{URL: s.URL()}, &topology.Plan{})
	if err != nil {
		panic(err)
	}
	return b, func() {
		b.Close()
		if err := s.Stop(); err != nil {
			panic(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
	}
}

// call calls the first tool that is announced and prints how the call ends.
func call(ctx context.Context, b *bus.Bus, arguments string) {
	var offers []bus.Offer
	for len(offers) == 0 {
		var err error
		if offers, err = b.Presence().Offers(ctx); err != nil {
			panic(err)
		}
	}
	r, err := b.Jobs().Call(ctx, bus.Call{Tool: *offers[0].Tool, Arguments: json.RawMessage(arguments), Output: func(text string) { fmt.Print(text) }})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s %s: %s, %s\n", r.Tool, arguments, r.Status, r.Content)
}

// try serves a tool on a deployment of its own, calls it once and prints what
// was seen.
func try(t tool.Tool, arguments string) {
	b, end := begin()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- tool.Server{URL: b.URL(), Log: slog.New(slog.DiscardHandler)}.Serve(ctx, t)
	}()
	call(ctx, b, arguments)
	cancel()
	if err := <-done; err != nil {
		panic(err)
	}
}

// laboratory starts a deployment on which a tool is called once; then the context
// ends.
func laboratory(parent context.Context) (ctx context.Context, url string, end func()) {
	b, stop := begin()
	ctx, cancel := context.WithTimeout(parent, 30*time.Second)
	called := make(chan struct{})
	go func() {
		defer close(called)
		defer cancel()
		call(ctx, b, `{"name":"Ada"}`)
	}()
	return ctx, b.URL(), func() { <-called; stop() }
}
