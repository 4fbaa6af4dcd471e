package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) approvalsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List all that waits for somebody, oldest first",
		Long: `List all that waits for somebody, over all conversations, oldest first: calls that
need approval, calls that wait for their time or for an app's result, what tools
ask, and turns that wait at a limit. --follow then prints each change as it happens: what waits
newly, and what became of what waited.`,
		Example: `  parley approvals
  parley approvals --follow -o json | jq 'select(.change == "waits")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.approvals(cmd.Context(), follow) },
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what changes")
	a.outputFlag(cmd)
	return cmd
}

// waitingThing is one awaited thing, as programs read it.
type waitingThing struct {
	Conversation string     `json:"conversation"`
	Since        *time.Time `json:"since,omitempty"`
	events.Awaited
}

func (a *app) approvals(ctx context.Context, follow bool) (err error) {
	asJSON, err := a.json()
	if err != nil {
		return err
	}
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if follow {
		return a.followApprovals(ctx, s, asJSON)
	}
	all, err := s.allPending(ctx)
	if err != nil {
		return err
	}
	all = withoutOdd(all)
	if asJSON {
		return printJSON(things(all))
	}
	return printPending(all)
}

// withoutOdd drops the conversations that cannot be read, and names them.
func withoutOdd(all []pending) []pending {
	return slices.DeleteFunc(all, func(p pending) bool {
		if p.Odd != nil {
			fmt.Fprintf(os.Stderr, "conversation %s cannot be read: %v\n", p.Conversation, p.Odd)
		}
		return p.Odd != nil
	})
}

// printPending lists what waits, or says that nothing does.
func printPending(all []pending) error {
	rows := rowsOf(all)
	if len(rows) == 0 {
		fmt.Fprintln(os.Stderr, "nothing waits for anybody")
		return nil
	}
	return outputError(terminal.Approvals(os.Stdout, profile(), time.Now(), rows))
}

func things(all []pending) []waitingThing {
	out := []waitingThing{}
	for i := range all {
		p := &all[i]
		for _, a := range p.Awaiting {
			w := waitingThing{Conversation: p.Conversation, Awaited: a}
			if !p.Since.IsZero() {
				w.Since = &p.Since
			}
			out = append(out, w)
		}
	}
	return out
}

// readers is how many conversations are read at once.
const readers = 16

// allPending reads what all conversations wait for, oldest first.
func (s *session) allPending(ctx context.Context) ([]pending, error) {
	ids, err := s.Timers(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]pending, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, id := range ids {
		g.Go(func() error {
			p, err := s.pending(ctx, id)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil && !s.Connected() {
				return err
			}
			if err != nil { // its own, and no reason to hide the others
				p = pending{Conversation: id, Odd: err}
			}
			all[i] = p
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p pending) bool { return len(p.Awaiting) == 0 && p.Odd == nil })
	slices.SortFunc(all, func(a, b pending) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Conversation, b.Conversation))
	})
	return all, nil
}
