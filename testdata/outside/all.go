// Program all runs everything in one process.
package main

import (
	"context"
	"fmt"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/embedded"
)

func main() {
	ctx := context.Background()
	p, err := embedded.Start(ctx, embedded.Options{})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	turn, err := p.Conversation(parley.NewID()).Send(ctx, "What is 17% of 2,340?")
	if err != nil {
		panic(err)
	}
	result, err := turn.Wait(ctx)
	fmt.Println(result.Text, err)
}
