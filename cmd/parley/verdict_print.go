package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// print prints the answer to a verdict, call by call, and returns an error for what
// was not accepted.
func (r *ruling) print(asJSON bool, conversation string, chosen []parley.Waiting, a *parley.InputAnswered) error {
	refused := len(a.Calls) == 0 && a.Answer != parley.AnswerAccepted
	for _, c := range a.Calls {
		refused = refused || c.Answer != parley.AnswerAccepted
	}
	failure := error(nil)
	if refused {
		failure = &exitError{code: exitFailed} // printed below
	}
	if asJSON {
		if err := printJSON(a); err != nil {
			return err
		}
		return failure
	}
	if len(a.Calls) == 0 && refused {
		return notTaken(a)
	}
	for i, c := range a.Calls {
		what, asked := c.Call, false
		if i < len(chosen) && chosen[i].For != "" {
			what, asked = awaitedLine(chosen[i].Awaited), chosen[i].For == parley.WaitAnswer
		}
		line := r.done(asked) + " " + what
		if c.Missing > 0 {
			line += ": " + plainLine(c.Reason)
		}
		if c.Answer != parley.AnswerAccepted {
			line = string(c.Answer) + " " + what + ": " + plainLine(c.Reason)
		}
		if _, err := fmt.Fprintln(stdout(), line); err != nil {
			return outputError(err)
		}
	}
	for _, g := range a.Granted {
		if _, err := fmt.Fprintf(stdout(), "from now on %s runs here without asking; %s takes that back\n",
			plainLine(g.Tool), r.app.commandLine("revoke", conversation, g.ID)); err != nil {
			return outputError(err)
		}
	}
	return failure
}

// done is the word for a verdict that was accepted; asked means that it answers a
// tool's question.
func (r *ruling) done(asked bool) string {
	switch r.verdict {
	case parley.RulingReject:
		if asked {
			return "declined"
		}
		return "rejected"
	case parley.RulingEdit:
		return "edited"
	case parley.RulingAnswer:
		return "answered"
	}
	if asked {
		return "answered yes to"
	}
	return "approved"
}

func (a *app) revokeCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "revoke CONVERSATION [GRANT...]",
		Short: "Take standing approvals back",
		Long: `Take standing approvals back, those that are named by their ids (or a beginning
or an end of them, or the tool's name) or all. Calls that run already continue.
"parley policy" lists them.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := a.json()
			if err != nil {
				return err
			}
			return a.on(cmd.Context(), args[0], func(s *host.Session, c *opened) error {
				v := &parley.Verdict{Verdict: parley.RulingRevoke, From: from}
				for _, word := range args[1:] {
					id, err := pick(word, c.State.Grants, func(g parley.Grant) (string, string) { return g.ID, g.Tool })
					if err != nil {
						return fmt.Errorf("%q is no standing approval of this conversation: `parley policy %s` lists them", word, c.conv.ID())
					}
					v.Grants = append(v.Grants, id)
				}
				answer, err := submit(cmd.Context(), s, c, v)
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(answer)
				}
				if err == nil {
					err = notTaken(answer)
				}
				if err != nil || asJSON {
					return err
				}
				return printRevoked(answer, c.State.Grants)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", userName(), "who takes them back")
	a.outputFlag(cmd)
	return cmd
}

func printRevoked(a *parley.InputAnswered, grants []parley.Grant) error {
	for _, id := range a.Revoked {
		what := ""
		for _, g := range grants {
			if g.ID == id {
				what = plainLine(g.Tool) + " "
			}
		}
		if _, err := fmt.Fprintf(stdout(), "revoked %s%s\n", what, id); err != nil {
			return outputError(err)
		}
	}
	return nil
}
