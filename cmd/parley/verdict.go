package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/host"
	"github.com/parleybus/parley/internal/terminal"
)

// ruling is the flags of approve, reject, edit and answer.
type ruling struct {
	app       *app
	verdict   parley.Ruling
	all       bool
	always    bool
	reason    string
	arguments string
	content   string
	from      string
}

func (a *app) verdictCommand(r *ruling, use, short, long string) *cobra.Command {
	r.app = a
	cmd := &cobra.Command{
		Use: use, Short: short,
		Long: short + `.

` + long + `

CALL is the call's id, a beginning or an end of it, or the tool's name, when only
one that waits is meant by it; "parley approvals" lists what waits. Without CALL
there must be only one that can be decided so. What became of each call is
printed; the exit code is 1 when a verdict was not accepted, for instance because
somebody else was first.`,
		ValidArgsFunction: a.completeCall,
	}
	cmd.Flags().StringVar(&r.from, "from", userName(), "who decides")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) approveCommand() *cobra.Command {
	r := &ruling{verdict: parley.RulingApprove}
	cmd := a.verdictCommand(r, "approve CONVERSATION [CALL...]", "Let calls run that wait for approval, or a turn continue past a limit",
		`A tool that asks for yes or no gets a yes. With --always calls of the same tool,
asked about by the same rule, run without asking in this conversation from now
on; "parley revoke" takes that back.`)
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.always {
			r.verdict = parley.RulingAlways
		}
		return r.run(cmd.Context(), args[0], args[1:])
	}
	cmd.Flags().BoolVar(&r.all, "all", false, "all that wait for approval")
	cmd.Flags().BoolVar(&r.always, "always", false, "and such calls without asking from now on")
	return cmd
}

func (a *app) rejectCommand() *cobra.Command {
	r := &ruling{verdict: parley.RulingReject}
	cmd := a.verdictCommand(r, "reject CONVERSATION [CALL...]", "Reject calls that wait; the model reads the rejection",
		`A call that waits for its time or for an app's result can be rejected too, and a
turn that waits at a limit ends. A tool that asks something learns that nobody
answers; its call continues.`)
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0], args[1:]) }
	cmd.Flags().BoolVar(&r.all, "all", false, "all that wait")
	cmd.Flags().StringVar(&r.reason, "reason", "", "why; the model reads it")
	return cmd
}

func (a *app) editCommand() *cobra.Command {
	r := &ruling{verdict: parley.RulingEdit}
	cmd := a.verdictCommand(r, "edit CONVERSATION [CALL]", "Let a call run with other arguments",
		`Without --arguments the arguments are opened in VISUAL or EDITOR. What is left is
checked against the tool's schema before it runs.`)
	cmd.Args = cobra.RangeArgs(1, 2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args[0], args[1:]) }
	cmd.Flags().StringVar(&r.arguments, "arguments", "", `a JSON object, such as '{"timezone":"Oslo"}'`)
	return cmd
}

func (a *app) answerCommand() *cobra.Command {
	r := &ruling{verdict: parley.RulingAnswer}
	cmd := a.verdictCommand(r, "answer CONVERSATION [CALL] TEXT", "Give the result of a call instead of its tool, or what the tool asks for",
		`The model reads TEXT as the call's result; "-" reads it from standard input. Where
a tool asks something in the middle of its call, TEXT is a JSON object that fits
what it asks for: the tool reads it and continues. "parley approvals -o json" has
the schema of that object. If the tool asks for a secret, the answer is sealed for
the worker that asks; give "-", so that it is not in the shell's history.`)
	cmd.Args = cobra.RangeArgs(2, 3)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if r.content, err = givenText("answer", args[len(args)-1]); err != nil {
			return err
		}
		return r.run(cmd.Context(), args[0], args[1:len(args)-1])
	}
	return cmd
}

func (r *ruling) run(ctx context.Context, conversation string, words []string) error {
	asJSON, err := r.app.json()
	if err != nil {
		return err
	}
	if r.all && len(words) > 0 {
		return usagef("--all and CALL exclude each other")
	}
	if r.arguments != "" {
		if err := events.CheckArguments(r.arguments); err != nil {
			return usagef("--arguments: %w", err)
		}
	}
	return r.app.on(ctx, conversation, func(s *host.Session, c *opened) error {
		chosen, err := r.choose(c, words)
		if err != nil {
			return err
		}
		v := &parley.Verdict{Verdict: r.verdict, Reason: r.reason, From: r.from}
		for _, a := range chosen {
			one, err := parley.AnswerTo(a.Awaited, r.content)
			if r.verdict != parley.RulingAnswer {
				one, err = parley.CallVerdict{Call: a.Call, Digest: a.Digest}, nil
			}
			if err != nil {
				return err
			}
			if r.verdict == parley.RulingEdit {
				if one.Arguments, err = r.edited(a); err != nil {
					return err
				}
			}
			v.Calls = append(v.Calls, one)
		}
		answer, err := submit(ctx, s, c, v)
		if err != nil {
			return err
		}
		return r.print(asJSON, conversation, chosen, answer)
	})
}

// fits reports whether this is a verdict that can decide a thing.
func (r *ruling) fits(a parley.Waiting) bool {
	switch r.verdict {
	case parley.RulingReject:
		return true
	case parley.RulingApprove, parley.RulingAlways:
		// Questions of tools are answered one by one, and each time.
		yes := r.verdict == parley.RulingApprove && !r.all && terminal.YesOrNo(&a.Awaited)
		return yes || a.For == parley.WaitApproval || a.For == parley.WaitLimit
	case parley.RulingAnswer:
		return a.For != parley.WaitLimit && !terminal.YesOrNo(&a.Awaited)
	}
	return a.For == parley.WaitApproval
}

// choose finds what the words mean, or without words what can be decided in this way.
func (r *ruling) choose(c *opened, words []string) ([]parley.Waiting, error) {
	var chosen []parley.Waiting
	for _, word := range words {
		id, err := pick(word, c.Waiting, func(a parley.Waiting) (string, string) { return a.Call, a.Tool })
		if err != nil {
			return nil, err
		}
		a := parley.Waiting{Awaited: parley.Awaited{Call: id}}
		for _, one := range c.Waiting {
			if one.Call == id {
				a = one
			}
		}
		chosen = append(chosen, a)
	}
	if len(words) > 0 {
		return chosen, nil
	}
	for _, a := range c.Waiting {
		if r.fits(a) {
			chosen = append(chosen, a)
		}
	}
	switch {
	case len(c.Waiting) == 0:
		return nil, fmt.Errorf("nothing waits in conversation %s: it is %s", c.conv.ID(), phase(&c.State))
	case len(chosen) == 0:
		return nil, fmt.Errorf("nothing that waits in conversation %s can be decided so; it waits for:\n%s", c.conv.ID(), listed(c.Waiting))
	case len(chosen) > 1 && !r.all:
		how := "name one of them"
		if r.verdict == parley.RulingReject || r.verdict == parley.RulingApprove || r.verdict == parley.RulingAlways {
			how = "name those that are meant, or give --all"
		}
		return nil, usagef("%d things wait in conversation %s; %s:\n%s", len(chosen), c.conv.ID(), how, listed(chosen))
	}
	return chosen, nil
}

func listed(all []parley.Waiting) string {
	var b strings.Builder
	for _, a := range all {
		fmt.Fprintf(&b, "  %s  %s\n", a.Call, awaitedLine(a.Awaited))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// edited returns the arguments that a call is to run with.
func (r *ruling) edited(a parley.Waiting) (json.RawMessage, error) {
	if r.arguments != "" {
		return json.RawMessage(r.arguments), nil
	}
	editor, ok := editorCommand(os.Getenv)
	if !ok || !isatty.IsTerminal(os.Stdin.Fd()) {
		return nil, usagef("give --arguments, or set EDITOR and run this in a terminal")
	}
	if len(a.Arguments) == 0 {
		return nil, fmt.Errorf("call %s does not wait here: give --arguments to try it all the same", a.Call)
	}
	indented, err := json.MarshalIndent(a.Arguments, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the arguments of call %s: %w", a.Call, err)
	}
	text, err := runEditor(editor, string(indented))
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the text is empty: nothing was decided")
	}
	if err := events.CheckArguments(text); err != nil {
		return nil, fmt.Errorf("what the editor left: %w", err)
	}
	return json.RawMessage(text), nil
}
