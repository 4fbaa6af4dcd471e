package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/terminal"
)

// watch is the flags of tail and replay.
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
	f.StringVar(&w.from, "from", "", "start after this cursor, such as 812-3")
	f.DurationVar(&w.since, "since", 0, "start with what was stored this long ago, such as 10m")
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
		Short: "Follow a conversation: its history, then live",
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
		Short: "Replay a conversation as it happened",
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

// longestPause bounds the pauses of a replay in a terminal, unless the original
// speed is requested.
const longestPause = 2 * time.Second

// pace is the pace of a replay; nil is as fast as the log can be read.
func (w *watch) pace() (*parley.Pace, error) {
	pace := &parley.Pace{Speed: w.speed, LongestPause: longestPause}
	switch {
	case w.speed < 0:
		return nil, usagef("--speed %g must be above 0", w.speed)
	case w.flat, w.speed == 0 && !w.original && (w.json || w.raw || !profile().Interactive):
		return nil, nil
	case w.original:
		return &parley.Pace{}, nil
	}
	return pace, nil
}

func (w *watch) start() (parley.From, error) {
	var from parley.From
	var err error
	if w.from != "" {
		from.After, err = parley.ParseCursor(w.from)
	}
	if w.since > 0 {
		from.Since = time.Now().Add(-w.since)
	}
	return from, err
}

func (w *watch) view() view {
	if w.json {
		return &lines{jsonOutput()}
	}
	return newPeople(stdout(), terminal.Options{Reasoning: w.reasoning, ShowUser: true})
}

func (w *watch) run(ctx context.Context, conversation string, ended bool, pace *parley.Pace) (err error) {
	if err := parley.CheckID(conversation); err != nil {
		return err
	}
	from, err := w.start()
	if err != nil {
		return err
	}
	from.NoFollow = ended
	ctx, stop := daemon.Signals(ctx)
	defer stop()
	s, err := w.app.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v := w.view()
	p := &player{watch: w, ctx: ctx, conv: s.Conversation(conversation), view: v, pace: pace}
	err = p.play(from)
	gone, expired := errors.AsType[*parley.CursorExpiredError](err)
	if expired && !gone.OtherLog && from.After.Sequence == 0 {
		// The rest is shown, after a notice of what is missing.
		fmt.Fprintln(stderr(), err)
		from.After = gone.Resume
		err = p.play(from)
	}
	if err != nil {
		return errors.Join(v.Close(), err)
	}
	if p.shown == 0 && ended && ctx.Err() == nil && w.from == "" && w.since == 0 {
		return fmt.Errorf("the log holds nothing of conversation %s: `parley ls` lists what there is, `parley show` the transcript before the log's beginning", conversation)
	}
	return v.Close()
}

// player shows a conversation as it comes, or at a pace.
type player struct {
	*watch
	ctx   context.Context
	conv  *parley.Conversation
	view  view
	pace  *parley.Pace
	shown int
}

// play shows events, or messages as they are on the bus, until the log ends or the
// command is interrupted.
func (p *player) play(from parley.From) error {
	if p.raw {
		return each(p, p.conv.RawMessages(p.ctx, from), func(m parley.RawMessage) error {
			return printRaw(fmt.Appendf(nil, "[#%d] %s\n%s\n", m.Sequence, m.Subject, m.Data))
		})
	}
	all := p.conv.Events(p.ctx, from)
	if p.pace != nil {
		all = p.conv.Replay(p.ctx, from, *p.pace)
	}
	return each(p, all, func(e parley.Event) error {
		if err := p.view.Show(e); err != nil || p.json {
			return err
		}
		if d, ok := e.Body.(*parley.Decision); ok && d.State.Phase == parley.PhaseDeleted {
			return p.conv.Exists(p.ctx)
		}
		return nil
	})
}

// each shows what an iterator yields.
func each[T any](p *player, all iter.Seq2[T, error], show func(T) error) error {
	for one, err := range all {
		if err != nil && p.ctx.Err() != nil {
			return nil // interrupted
		}
		if err == nil {
			p.shown++
			err = show(one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
