// Command viewer follows a conversation for the tests of package chaos.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/parleybus/parley/internal/chaos"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: viewer CONVERSATION FILE, with NATS_URL")
		os.Exit(2)
	}
	v := chaos.Viewer{URL: os.Getenv("NATS_URL"), Conversation: os.Args[1], File: os.Args[2]}
	if err := v.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
