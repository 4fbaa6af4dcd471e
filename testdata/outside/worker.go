package main

import (
	"context"
	"fmt"
	"os"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/tool"
)

func book(_ context.Context, o struct{ City string }) (string, error) { return "booked " + o.City, nil }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx := context.Background()
	c, err := parley.Connect(ctx, parley.Config{})
	check(err)
	go tool.Serve(ctx, "", tool.Func("book", "Book a flight", book))
	check(c.AwaitTool(ctx, "book"))
	turn, err := c.Conversation(parley.NewID()).Send(ctx, "To Oslo, please.", parley.WithModel(os.Args[1]))
	check(err)
	for e, err := range turn.Events(ctx) {
		check(err)
		switch body := e.Body.(type) {
		case *parley.TextChunk:
			fmt.Print(body.Text)
		case *parley.Paused:
			waiting, err := c.Waiting(ctx)
			check(err)
			check(waiting[0].Approve(ctx))
		}
	}
}
