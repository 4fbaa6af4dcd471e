// Command peers measures Parley beside plain JetStream and beside Redis Streams by hand,
// in one run. It is a module of its own, so that the client of Redis is no dependency of
// Parley, and needs the program redis-server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"github.com/parleybus/parley/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	peer := &bench.Peer{Name: "redis", Serve: serve, Open: open}
	seconds := flag.Float64("seconds", 5, "how long each row is measured")
	times := flag.Int("times", 3, "how often everything is measured")
	flag.Parse()
	if flag.Arg(0) == "process" {
		return bench.Child(ctx, os.Stdin, os.Stdout, peer)
	}
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program to start it again: %w", err)
	}
	for n := range *times {
		fmt.Printf("# %d of %d\n\n", n+1, *times)
		for _, row := range []struct{ conversations, rate, viewers int }{
			{100, 5000, 1}, {300, 30_000, 1}, {1000, 100_000, 1}, {1, 200, 1000},
		} {
			o := bench.Options{Conversations: []int{row.conversations}, Rates: []string{strconv.Itoa(row.rate)}, Viewers: row.viewers,
				Seconds: *seconds, Raw: true, Peer: peer, Processes: []string{own, "process"}}
			if row.viewers > 1 {
				o.CatchUp = []int{1000, 10_000}
			}
			if _, err := o.Run(ctx, os.Stdout); err != nil {
				return err
			}
		}
	}
	return nil
}
