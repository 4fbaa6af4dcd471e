package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/topology"
)

// watch is what tail and replay are told.
type watch struct {
	app            *app
	from           string
	since          time.Duration
	json, raw      bool
	reasoning      bool
	noFollow       bool
	speed          float64
	original, flat bool
}

func (w *watch) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.from, "from", "", "begin after this cursor, such as 812-3")
	f.DurationVar(&w.since, "since", 0, "begin with what was stored this long ago, such as 10m")
	f.BoolVar(&w.json, "json", false, "events as NDJSON, with cursors")
	f.BoolVar(&w.raw, "raw", false, "messages as they are on the bus")
	f.BoolVar(&w.reasoning, "reasoning", profile().Interactive, "show the model's reasoning")
	cmd.ValidArgsFunction = w.app.completeConversation
	cmd.MarkFlagsMutuallyExclusive("json", "raw")
	cmd.MarkFlagsMutuallyExclusive("from", "since")
}

func (a *app) tailCommand() *cobra.Command {
	w := &watch{app: a}
	cmd := &cobra.Command{
		Use:   "tail CONVERSATION",
		Short: "Watch a conversation: what was, then what comes",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return w.run(cmd.Context(), args[0], w.noFollow, nil) },
	}
	w.flags(cmd)
	cmd.Flags().BoolVar(&w.noFollow, "no-follow", false, "stop at the end of the log")
	return cmd
}

func (a *app) replayCommand() *cobra.Command {
	w := &watch{app: a}
	cmd := &cobra.Command{
		Use:   "replay CONVERSATION",
		Short: "Show a conversation again, as it happened",
		Long: `Show a conversation again from the log: in a terminal at its original speed
with pauses cut to two seconds, elsewhere flat out.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pace, err := w.pace()
			if err != nil {
				return err
			}
			return w.run(cmd.Context(), args[0], true, pace)
		},
	}
	w.flags(cmd)
	cmd.Flags().Float64Var(&w.speed, "speed", 0, "times the original speed")
	cmd.Flags().BoolVar(&w.original, "original", false, "original speed, with every pause")
	cmd.Flags().BoolVar(&w.flat, "flat", false, "as fast as it can be read")
	cmd.MarkFlagsMutuallyExclusive("speed", "original", "flat")
	return cmd
}

// longestPause is what a replay in a terminal makes of longer ones, unless the
// original speed is asked for.
const longestPause = 2 * time.Second

// pace waits as long as the log did between two messages, scaled. It is nil for
// flat out.
func (w *watch) pace() (func(ctx context.Context, gap time.Duration) error, error) {
	speed, longest := w.speed, longestPause
	switch {
	case w.speed < 0:
		return nil, &exitError{exitUsage, fmt.Errorf("--speed %g must be above 0", w.speed)}
	case w.flat, speed == 0 && !w.original && (w.json || w.raw || !profile().Interactive):
		return nil, nil
	case w.original:
		speed, longest = 1, 1<<62
	case speed == 0:
		speed = 1
	}
	return func(ctx context.Context, gap time.Duration) error {
		if !pause(ctx, min(time.Duration(float64(gap)/speed), longest)) {
			return context.Cause(ctx)
		}
		return nil
	}, nil
}

func (w *watch) start() (bus.From, error) {
	var from bus.From
	if w.from != "" {
		c, err := bus.ParseCursor(w.from)
		if err != nil {
			return from, &exitError{exitUsage, err}
		}
		from.After = c
	}
	if w.since > 0 {
		from.Since = time.Now().Add(-w.since)
	}
	return from, nil
}

func (w *watch) view() view {
	switch {
	case w.json:
		return &lines{os.Stdout}
	case w.raw:
		return &raw{os.Stdout}
	}
	return newPeople(os.Stdout, terminal.Options{Reasoning: w.reasoning, ShowUser: true})
}

func (w *watch) run(ctx context.Context, conversation string, ended bool, pace func(context.Context, time.Duration) error) (err error) {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return &exitError{exitUsage, err}
	}
	from, err := w.start()
	if err != nil {
		return err
	}
	from.Ended = ended
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	s, err := w.app.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v := w.view()
	p := &player{ctx: ctx, view: v, pace: pace, people: !w.json && !w.raw}
	err = p.play(s.Attach(ctx, conversation, from))
	var gone *bus.ExpiredError
	if errors.As(err, &gone) && !gone.OtherLog && from.After.Sequence == 0 {
		// What is left is shown all the same, after a word on what is not.
		fmt.Fprintln(os.Stderr, err)
		from.After = gone.Resume
		err = p.play(s.Attach(ctx, conversation, from))
	}
	if err != nil {
		return errors.Join(v.Close(), err)
	}
	shown := p.shown
	if shown == 0 && ended && ctx.Err() == nil && w.from == "" && w.since == 0 {
		return fmt.Errorf("the log holds nothing of conversation %s: `parley ls` lists what there is, `parley show` what was said before the log's beginning", conversation)
	}
	return v.Close()
}

// player shows messages as they come, or at the pace of the log.
type player struct {
	ctx    context.Context
	view   view
	pace   func(context.Context, time.Duration) error
	last   time.Time
	shown  int
	people bool // a deleted conversation is an error
}

func (p *player) play(messages iter.Seq2[bus.Message, error]) error {
	for m, err := range messages {
		if err != nil && p.ctx.Err() != nil {
			return nil // told to stop
		}
		if err != nil {
			return err
		}
		if p.pace != nil && !p.last.IsZero() && m.Time.After(p.last) {
			if p.pace(p.ctx, m.Time.Sub(p.last)) != nil {
				return nil // told to stop
			}
		}
		p.last = m.Time
		p.shown++
		if err := p.view.Show(m); err != nil {
			return err
		}
		if err := deletedIn(m); err != nil && p.people {
			return err
		}
	}
	return nil
}

// deletedIn is an error when a message says that the conversation was deleted.
func deletedIn(m bus.Message) error {
	for _, l := range m.Lines {
		if d, ok := l.Event.(*events.Decision); ok && m.Channel == events.ChannelTurn && d.State.Phase == events.PhaseDeleted {
			return deletedError(m.Conversation, &d.State)
		}
	}
	return nil
}
