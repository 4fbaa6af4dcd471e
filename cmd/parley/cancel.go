package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// stopping is the flags of cancel.
type stopping struct {
	app          *app
	call, reason string
	queue, all   bool
	from         string
}

func (a *app) cancelCommand() *cobra.Command {
	c := &stopping{app: a}
	cmd := &cobra.Command{
		Use:   "cancel CONVERSATION",
		Short: "Stop the turn that runs, one of its calls, or what is queued",
		Long: `Stop the turn that runs or waits, one of its calls, or the messages that are
queued for the next one, and say what was found.`,
		Example: `  parley cancel 0198c0de-0000-7000-8000-000000000000
  parley cancel 0198c0de-0000-7000-8000-000000000000 --call now
  parley cancel 0198c0de-0000-7000-8000-000000000000 --queue --reason "asked twice"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.on(cmd.Context(), args[0], func(s *host.Session, at *opened) error { return c.run(cmd, s, at) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.call, "call", "", "stop this call only: its id, the beginning or end of it, or the tool's name")
	f.BoolVar(&c.queue, "queue", false, "drop the messages that wait for the next turn")
	f.BoolVar(&c.all, "all", false, "stop the turn and drop the queue")
	f.StringVar(&c.reason, "reason", "", "why; it is stored in the log, and for a call the model reads it")
	f.StringVar(&c.from, "from", userName(), "who stops it")
	a.outputFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("call", "queue", "all")
	return cmd
}

func (c *stopping) run(cmd *cobra.Command, s *host.Session, at *opened) error {
	asJSON, err := c.app.json()
	if err != nil {
		return err
	}
	e := &parley.Cancel{Reason: c.reason, From: c.from}
	switch {
	case c.call != "":
		open := slices.DeleteFunc(slices.Clone(at.State.Calls), func(c parley.CallState) bool { return c.Status != "" })
		if e.Call, err = pick(c.call, open, func(c parley.CallState) (string, string) { return c.Call, c.Tool }); err != nil {
			return err
		}
	case c.queue:
		e.Scope = parley.ScopeQueue
	case c.all:
		e.Scope = parley.ScopeAll
	}
	if s.Embedded() && cmp.Or(at.State.Phase, parley.PhaseIdle) == parley.PhaseIdle && len(at.State.Queue) == 0 {
		return fmt.Errorf("no turn runs in conversation %s", at.conv.ID())
	}
	answer, err := submit(cmd.Context(), s, at, e)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(answer)
	} else if answer.Answer == parley.AnswerAccepted {
		_, err = fmt.Fprintln(stdout(), found(e, answer, &at.State))
	}
	return errors.Join(outputError(err), notTaken(answer))
}

// found describes what a Cancel stopped. before is the state as it was seen before
// the Cancel, which may have changed meanwhile.
func found(e *parley.Cancel, a *parley.InputAnswered, before *parley.State) string {
	var stopped []string
	switch {
	case e.Call != "":
		for i := range before.Calls {
			if c := &before.Calls[i]; c.Call == e.Call {
				did := "ran"
				if c.Waiting() {
					did = "waited for " + waitsFor(c.Waits)
				}
				stopped = append(stopped, plainLine(c.Tool)+", which "+did)
			}
		}
		if len(stopped) == 0 {
			stopped = append(stopped, "call "+e.Call)
		}
	case e.Scope != parley.ScopeQueue && a.Turn != "":
		text := "turn " + a.Turn
		if a.Turn == before.Turn {
			text += " (" + phase(before) + ")"
		}
		stopped = append(stopped, text)
	}
	switch n := len(a.Dropped); {
	case n == 1:
		stopped = append(stopped, "1 queued message")
	case n > 1:
		stopped = append(stopped, fmt.Sprintf("%d queued messages", n))
	}
	return "stopped " + strings.Join(stopped, " and ")
}

// pick finds the one thing that a word means: its id, a beginning or an end of it, or
// its name, when no other has that. An id that is not listed is returned unchanged:
// the orchestrator knows its state.
func pick[T any](word string, from []T, names func(T) (id, name string)) (string, error) {
	var ids, called []string
	for _, one := range from {
		id, name := names(one)
		switch {
		case id == word:
			return id, nil
		case strings.HasPrefix(id, word) || strings.HasSuffix(id, word):
			ids = append(ids, id)
		case name == word:
			called = append(called, id)
		}
	}
	const whole = 36 // of a UUID
	switch found := append(called, ids...); {
	case len(called) == 1:
		return called[0], nil // a tool may be named as an id ends
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", usagef("%q may be any of %s: give more of the id", word, strings.Join(found, ", "))
	case len(word) == whole:
		return word, nil
	}
	return "", fmt.Errorf("nothing here is called %q: `parley approvals` lists what waits", word)
}
