package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
)

// topRefresh is the interval of top's refreshes, and how long it measures rates
// without a live view.
const topRefresh = time.Second

// The terminal's other screen, where the view does not push away the content of
// the scrollback; without the cursor, which would flicker.
const (
	enterView = "\x1b[?1049h\x1b[?25l"
	leaveView = "\x1b[?25h\x1b[?1049l"
	viewHome  = "\x1b[H"
	lineDone  = "\x1b[K\r\n" // clears what the last frame had more
	clearLine = "\x1b[K"
	viewDone  = "\x1b[J"
)

func (a *app) topCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch queues, workers and shards live",
		Long: `Watch a deployment live: how many messages pass, who waits for somebody, the
queues with their lag, the workers with what they serve, and the shards with
their owners. It refreshes each second; q or Ctrl-C leaves. With --once, in a pipe
and as JSON it measures for a second and prints one frame: in a pipe one line for
each thing, with tabs between its cells.

A worker's SEEN is how long top has seen it; "> 5s" was there before. What this
user may not read is left out, with a note.`,
		Example: `  parley top
  parley top --once -o json | jq '.queues[] | select(.lag > 0 and .workers == 0)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.top(cmd.Context(), once) },
	}
	cmd.Flags().BoolVar(&once, "once", false, "print one frame")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) top(ctx context.Context, once bool) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	live := !once && !asJSON && profile().Interactive
	if live {
		a.cfg.LogLevel = "error" // the view shows what is missing; a line of the log would tear it
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Embedded() {
		return &parley.Error{Code: parley.CodeNoServer, Err: errors.New("nothing runs on this data directory, so there is nothing to watch: start `parley up`, or set NATS_URL")}
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	if live {
		return watchLive(ctx, s.Client, log)
	}
	frames := 0
	for d, err := range s.FollowDeployment(ctx, topRefresh) {
		if err != nil {
			log.Warn("cannot see who serves tools, trying again", "error", err)
			continue
		}
		if frames++; frames < 2 {
			continue // it has no rates yet
		}
		if asJSON {
			return printJSON(d)
		}
		return outputError(frame{d}.print(stdout(), profile(), 0))
	}
	return nil
}

// watchLive draws frames until the person leaves.
func watchLive(ctx context.Context, c *parley.Client, log *slog.Logger) (err error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	if fd := int(os.Stdin.Fd()); isatty.IsTerminal(os.Stdin.Fd()) {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("read single keys from the terminal: %w: `parley top --once` needs none", err)
		}
		defer func() { _ = term.Restore(fd, before) }() // it fails where the terminal is gone
		go watchKeys(leave)
	}
	if _, err := io.WriteString(stdout(), enterView); err != nil {
		return outputError(err)
	}
	defer func() { _, _ = io.WriteString(stdout(), leaveView) }() // as above
	for d, err := range c.FollowDeployment(ctx, topRefresh) {
		if err != nil {
			log.Warn("cannot see who serves tools, trying again", "error", err)
			continue
		}
		if err := (frame{d}).draw(); err != nil {
			return outputError(err)
		}
	}
	return nil
}

// watchKeys calls leave on q, Ctrl-C or Ctrl-D. A read of a terminal cannot be
// cancelled: it is left to the end of the process.
func watchKeys(leave func()) {
	const interrupt, end = 3, 4 // Ctrl-C and Ctrl-D, which a raw terminal hands on
	for key := make([]byte, 1); ; {
		if _, err := os.Stdin.Read(key); err != nil {
			leave()
			return
		}
		switch key[0] {
		case 'q', 'Q', interrupt, end:
			leave()
			return
		}
	}
}
