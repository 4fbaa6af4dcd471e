// Program client asks a question; it links the client and nothing else.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/parleybus/parley"
)

func main() {
	ctx := context.Background()
	c, err := parley.Connect(ctx, parley.Config{})
	if err != nil {
		panic(err)
	}
	turn, err := c.Conversation(parley.NewID()).Send(ctx, os.Args[1])
	if err != nil {
		panic(err)
	}
	result, err := turn.Wait(ctx)
	fmt.Println(result.Text, err)
}
