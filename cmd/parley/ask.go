package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/terminal"
	"github.com/parleybus/parley/internal/topology"
)

// question is what ask and chat are told about a conversation.
type question struct {
	app          *app
	conversation string
	system       string
	tools        []string
	limits       events.Limits
	maxTime      time.Duration
	json, quiet  bool
	began        uint64 // where the last turn's question stands
	reasoning    bool
}

func (q *question) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	q.app.cfg.Asking(f)
	q.app.cfg.Calling(f)
	q.app.cfg.Layout(f)
	f.StringVarP(&q.conversation, "conversation", "c", "", "go on with this conversation")
	f.StringVar(&q.system, "system", "", "system prompt")
	f.StringSliceVar(&q.tools, "tools", nil, "names or patterns of the tools offered; none offers none")
	f.IntVar(&q.limits.Steps, "max-steps", 0, "most steps of a turn; 0 for the deployment's default")
	f.Int64Var(&q.limits.Tokens, "max-tokens", 0, "most tokens of a turn; 0 for the deployment's default")
	f.DurationVar(&q.maxTime, "max-time", 0, "longest time of a turn; 0 for the deployment's default")
	f.BoolVar(&q.reasoning, "reasoning", profile().Interactive, "show the model's reasoning")
	// It fails only for a flag that does not exist; this one is defined above.
	_ = cmd.RegisterFlagCompletionFunc("conversation", q.app.completeConversation)
}

func (a *app) askCommand() *cobra.Command {
	q := &question{app: a}
	cmd := &cobra.Command{
		Use:   "ask QUESTION",
		Short: "Ask a question and watch the answer as it comes",
		Long: `Ask a question and watch the answer as it comes. Without NATS_URL everything
runs in this process, unless a ` + "`parley up`" + ` runs on the same data directory.
"-" reads the question from standard input. Ctrl-C cancels the turn; a second
one leaves.

` + exitCodes,
		Example: `  parley ask "What time is it in Oslo, and what is 17% of 2,340?"
  parley ask --model anthropic/claude-sonnet-4-5 "Why is the sky blue?"
  git diff | parley ask - --system "Review this change."`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := args[0]
			if text == "-" {
				raw, err := io.ReadAll(os.Stdin)
				if err != nil {
					return fmt.Errorf("read the question: %w", err)
				}
				text = string(raw)
			}
			if strings.TrimSpace(text) == "" {
				return &exitError{exitUsage, errors.New("the question is empty")}
			}
			return q.run(cmd.Context(), text)
		},
	}
	q.flags(cmd)
	cmd.Flags().BoolVar(&q.json, "json", false, "events as NDJSON")
	cmd.Flags().BoolVarP(&q.quiet, "quiet", "q", false, "the answer's text and nothing else")
	return cmd
}

func (q *question) run(ctx context.Context, text string) (err error) {
	s, err := q.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	end, err := q.turn(ctx, s, q.view(), text)
	if err != nil {
		return err
	}
	return exitOf(end, q.quiet)
}

func (q *question) view() view {
	if q.json {
		return &lines{os.Stdout}
	}
	return newPeople(terminal.Options{Reasoning: q.reasoning && !q.quiet, TextOnly: q.quiet})
}

// open connects, finds out which model answers, says so, and settles what was
// asked for.
func (q *question) open(ctx context.Context) (*session, error) {
	if q.limits.Steps < 0 || q.limits.Tokens < 0 || q.maxTime < 0 {
		return nil, &exitError{exitUsage, errors.New("--max-steps, --max-tokens and --max-time must not be below 0")}
	}
	fresh := q.conversation == ""
	if fresh {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		q.conversation = id.String()
	} else if err := topology.CheckID("conversation", q.conversation); err != nil {
		return nil, &exitError{exitUsage, err}
	}
	s, err := q.app.everything(ctx)
	if err != nil {
		return nil, err
	}
	if err := q.settle(ctx, s, fresh); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (q *question) settle(ctx context.Context, s *session, fresh bool) error {
	var provider string
	if len(q.app.cfg.Models) > 0 {
		provider, _, _ = strings.Cut(q.app.cfg.Models[0], "/")
	}
	offers, err := s.offered(ctx, provider)
	if err != nil {
		return err
	}
	model, why := q.model(s, offers)
	if !q.quiet && !q.json {
		p := profile()
		fmt.Fprintln(os.Stderr, p.Dim(wrapped(fmt.Sprintf("%s (%s)", model, why), 0, p.Width)))
	}
	q.limits.TimeMS = q.maxTime.Milliseconds()
	settings := &events.Settings{System: q.system, Tools: q.tools, Limits: q.limits}
	if slices.Equal(q.tools, []string{"none"}) {
		settings.Tools = []string{"-"}
	}
	if len(q.app.cfg.Models) > 0 {
		settings.Route = model
	}
	said := settings.Route != "" || settings.System != "" || len(settings.Tools) > 0 || !settings.Limits.IsZero()
	if !said {
		return nil // what the conversation has, or the deployment's defaults
	}
	if !fresh {
		if err := q.inherit(ctx, s, settings); err != nil {
			return err
		}
	}
	return q.publish(ctx, s, func(id string) events.Event { settings.ID = id; return settings })
}

// model is the full name of the model that will answer, and why it is that one.
func (q *question) model(s *session, offers []bus.Offer) (model, why string) {
	if len(q.app.cfg.Models) > 0 {
		model = q.app.cfg.Models[0]
		if provider, rest, _ := strings.Cut(model, "/"); rest == "" {
			for _, o := range offers {
				if o.Kind == "llm" && o.Name == provider {
					model = o.Model
				}
			}
		}
		return model, "--model or PARLEY_MODEL"
	}
	if s.Models != nil {
		return s.Models.Default, s.Models.Why
	}
	for _, o := range offers {
		if o.Kind == "llm" && (model == "" || o.Default) {
			model = o.Model
		}
	}
	return model, "the default of the workers at " + s.URL()
}

// inherit fills in what a conversation was told before and is not told now.
func (q *question) inherit(ctx context.Context, s *session, settings *events.Settings) error {
	return s.Facts(ctx, q.conversation, 0, func(m bus.Message) error {
		for _, l := range m.Lines {
			if old, ok := l.Event.(*events.Settings); ok {
				settings.Parameters = old.Parameters
				settings.Route = cmp.Or(settings.Route, old.Route)
				settings.System = cmp.Or(settings.System, old.System)
				if len(q.tools) == 0 {
					settings.Tools = old.Tools
				}
				if q.limits.IsZero() {
					settings.Limits = old.Limits
				}
			}
		}
		return nil
	})
}

func (q *question) publish(ctx context.Context, s *session, make func(id string) events.Event) error {
	_, err := q.send(ctx, s, make)
	return err
}

func (q *question) send(ctx context.Context, s *session, make func(id string) events.Event) (seq uint64, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return s.Publish(ctx, q.conversation, id.String(), make(id.String()))
}

// turn says something and shows what comes of it until its turn has ended.
func (q *question) turn(ctx context.Context, s *session, v view, text string) (*events.TurnEnded, error) {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	var input string
	seq, err := q.send(ctx, s, func(id string) events.Event {
		input = id
		return &events.UserMessage{ID: id, Text: text}
	})
	if err != nil {
		return nil, err
	}
	watching := make(chan struct{})
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer close(watching)
	watcher.Go(func() { q.interrupted(ctx, s, interrupts, watching, leave) })
	from := bus.From{}
	if seq > 1 && !q.json {
		from.After = bus.Cursor{Sequence: seq - 1, Index: 1 << 30}
	}
	if q.json && q.began != 0 {
		from.After = bus.Cursor{Sequence: q.began, Index: 1 << 30}
	}
	q.began = seq
	nobody := time.AfterFunc(answerPatience, func() {
		leave(&exitError{exitNobody, fmt.Errorf("no orchestrator took the question within %s: it stands in the log and is answered when one runs; start `orchestrator` or `parley up --only orchestrator`, then see `parley tail %s`", answerPatience, q.conversation)})
	})
	defer nobody.Stop()
	var turn string
	var end *events.TurnEnded
	for m, err := range s.Attach(ctx, q.conversation, from) {
		if err != nil {
			return nil, err
		}
		if err := v.Show(m); err != nil {
			return nil, err
		}
		decided(m, func(e events.Event) {
			switch e := e.(type) {
			case *events.TurnStarted:
				if slices.Contains(e.Inputs, input) {
					turn = e.Turn
				}
			case *events.TurnEnded:
				if e.Turn == turn {
					end = e
				}
			case *events.InputAnswered:
				if e.Input != input {
					return
				}
				nobody.Stop()
				if e.Answer == events.AnswerInvalid {
					err = fmt.Errorf("the question was refused: %s", e.Reason)
				}
			}
		})
		if err != nil || end != nil {
			return end, errors.Join(err, v.Turn(q.conversation))
		}
	}
	return nil, errors.New("the conversation's log ended before the turn did")
}

// interrupted turns the first interrupt into a Cancel, the second into leaving.
func (q *question) interrupted(ctx context.Context, s *session, interrupts <-chan os.Signal, done <-chan struct{}, leave context.CancelCauseFunc) {
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		case <-interrupts:
		}
		if n > 0 {
			leave(&exitError{exitCancelled, errors.New("left; the turn's end is in the log: parley tail " + q.conversation)})
			return
		}
		fmt.Fprintln(os.Stderr, "\ncancelling the turn; press Ctrl-C again to leave at once")
		if err := q.publish(ctx, s, func(id string) events.Event { return &events.Cancel{ID: id, Reason: "interrupted"} }); err != nil {
			leave(err)
			return
		}
	}
}
