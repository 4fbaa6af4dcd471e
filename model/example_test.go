package model_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
	"github.com/parleybus/parley/model"
)

// A program serves a provider of its own to a deployment elsewhere. Conversations ask
// it for "shout/loud", or for "shout" and get its default model.
func ExampleServe() {
	ctx, stop := context.WithCancel(context.Background())
	p, err := embedded.Start(ctx, embedded.Options{Port: -1, NoBuiltins: true})
	if err != nil {
		panic(err)
	}
	defer p.Close()

	shout := model.Func("shout", func(_ context.Context, r model.Request, w *model.Writer) error {
		last := r.Messages[len(r.Messages)-1]
		w.Text(strings.ToUpper(parley.TextOf(last)))
		return nil
	})
	served := make(chan error, 1)
	go func() {
		served <- model.Serve(ctx, parley.Config{URL: p.Server()}, model.Served{Provider: shout, Model: "loud"})
	}()
	_, _, err = p.AwaitOffers(ctx, func(offers []parley.Offer) bool {
		return strings.Contains(strings.Join(parley.Models(offers), " "), "shout/loud")
	})
	if err != nil {
		panic(err)
	}
	turn, err := p.Conversation(parley.NewID()).Send(ctx, "good morning", parley.WithModel("shout/loud"))
	if err != nil {
		panic(err)
	}
	result, err := turn.Wait(ctx)
	fmt.Println(result.Text, err)
	stop()
	fmt.Println(<-served)
	// Output:
	// GOOD MORNING <nil>
	// <nil>
}
