package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/terminal"
)

func (a *app) chatCommand() *cobra.Command {
	q := a.newQuestion()
	q.chatting = true
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Hold a conversation in the terminal",
		Long: `Hold a conversation in the terminal. A line is a message; a line that ends in
a backslash continues. In a terminal, the path of an image that is pasted or dragged
into a message attaches it. Ctrl-C cancels the turn that runs and leaves when none
does; Ctrl-D leaves. With --conversation, what waits there comes first.

` + whatWaits,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.rulesOnlyHere = cmd.Flags().Changed("rules")
			return q.chat(cmd.Context())
		},
	}
	q.flags(cmd)
	return cmd
}

func (q *question) chat(ctx context.Context) (err error) {
	s, err := q.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p := profile()
	fmt.Fprintln(stderr(), p.Dim("conversation "+q.conversation+" · Ctrl-D leaves"))
	if err := q.resume(ctx, s); err != nil {
		return err
	}
	for {
		text, err := q.message(ctx, p)
		if errors.Is(err, io.EOF) {
			if p.Interactive {
				fmt.Fprintln(stderr(), "\n"+p.Dim("parley chat -c "+q.conversation+" continues this conversation"))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the message: %w", err)
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		// A failed turn is printed and does not end the conversation, nor does a
		// message that is not taken.
		m := pasted{text: text}
		if q.keys.person() {
			m = attachPasted(text)
			for _, line := range m.lines() {
				fmt.Fprintln(stderr(), p.Dim(wrapped(plainLine(line), 0, p.Width)))
			}
		}
		_, err = q.turn(ctx, s, q.chatView(), m.text, m.options()...)
		var untaken *untakenError
		if errors.As(err, &untaken) {
			fmt.Fprintln(stderr(), p.Dim(wrapped("— "+plainLine(err.Error())+" —", 0, p.Width)))
			err = nil
		}
		if err != nil {
			return err
		}
	}
}

func (q *question) chatView() *people {
	v := newPeople(q.screen, terminal.Options{Reasoning: q.reasoning})
	v.unnamed = true // the conversation was named at the beginning
	return v
}

// resume begins with what the conversation waits for: it is shown, and a person at a
// terminal is asked.
func (q *question) resume(ctx context.Context, s *host.Session) error {
	if q.fresh {
		return nil
	}
	conv := s.Conversation(q.conversation)
	before, err := conv.Standing(ctx)
	if err != nil || len(before.Waiting) == 0 {
		return err
	}
	if !q.keys.person() {
		for _, w := range before.Waiting {
			fmt.Fprintln(stderr(), q.app.howToDecide(q.conversation, w.Awaited))
		}
		return nil
	}
	v := q.chatView()
	timed := slices.DeleteFunc(awaited(before.Waiting), func(a parley.Awaited) bool { return a.For != parley.WaitTime })
	if len(timed) > 0 { // the others become questions
		paused := &parley.Paused{Turn: before.State.Turn, AtMS: time.Now().UnixMilli(), Awaiting: timed}
		if err := v.Show(parley.Event{Body: paused}); err != nil {
			return err
		}
	}
	t := &shownTurn{q: q, v: v, turn: conv.Turn(before.State.Turn)}
	from := parley.From{After: parley.Cursor{Sequence: before.Sequence, Index: parley.WholeMessage}, Remaining: true}
	_, err = t.watch(ctx, s, from, before)
	return err
}

// message returns the next message, or io.EOF after Ctrl-C.
func (q *question) message(ctx context.Context, p terminal.Profile) (string, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var text strings.Builder
	for mark := "\n> "; ; mark = ". " {
		if p.Interactive {
			fmt.Fprint(stderr(), mark)
		}
		line, err := q.keys.line(ctx)
		if ctx.Err() != nil {
			return "", io.EOF
		}
		if err != nil {
			return "", err
		}
		if more, ok := strings.CutSuffix(line, `\`); ok {
			text.WriteString(more + "\n")
			continue
		}
		text.WriteString(line)
		return text.String(), nil
	}
}
