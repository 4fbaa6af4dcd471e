package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// sending is the flags of send.
type sending struct {
	app                                 *app
	queue, interrupt, supersede, refuse bool
	follow                              bool
	q                                   *question
	parameters                          parameters
}

func (a *app) sendCommand() *cobra.Command {
	c := &sending{app: a, q: a.newQuestion()}
	cmd := &cobra.Command{
		Use:   "send CONVERSATION TEXT",
		Short: "Send a message, also while a turn runs or waits",
		Long: `Send a message to a conversation, also while a turn runs or waits, and print the
answer: "accepted" with its turn, "queued" for the next one, or "refused". Without
a flag the conversation's settings decide; they queue messages by default. "-"
reads the text from standard input. --effort, --temperature, --answer-tokens and
--schema change the conversation's settings before it.

` + exitCodes,
		Example: `  parley send 0198c0de-0000-7000-8000-000000000000 "And in Tokyo?"
  parley send 0198c0de-0000-7000-8000-000000000000 "Stop, I meant Paris." --interrupt --follow`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeConversation,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := givenText("message", args[1])
			if err != nil {
				return err
			}
			return c.run(cmd, args[0], text)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.queue, "queue", false, "queue it for the next turn")
	f.BoolVar(&c.interrupt, "interrupt", false, "stop the turn that runs or waits, then start on this message")
	f.BoolVar(&c.supersede, "supersede", false, "drop pending approvals, let running calls finish, then start on this message")
	f.BoolVar(&c.refuse, "refuse", false, "refuse it while a turn runs or waits")
	f.BoolVarP(&c.follow, "follow", "f", false, "watch until it is answered, as ask does")
	f.StringArrayVar(&c.q.files, "file", nil, "attach an image, a PDF or a text file; may be repeated")
	c.parameters.add(f)
	f.StringVar(&c.q.from, "from", userName(), "who says it")
	f.BoolVar(&c.q.reasoning, "reasoning", profile().Interactive, "with --follow: show the model's reasoning")
	a.outputFlag(cmd)
	cmd.MarkFlagsMutuallyExclusive("queue", "interrupt", "supersede", "refuse")
	return cmd
}

func (c *sending) run(cmd *cobra.Command, conversation, text string) error {
	asJSON, err := c.app.json()
	if err != nil {
		return err
	}
	switch {
	case c.queue:
		c.q.arrival = parley.ArrivalQueue
	case c.interrupt:
		c.q.arrival = parley.ArrivalInterrupt
	case c.supersede:
		c.q.arrival = parley.ArrivalSupersede
	case c.refuse:
		c.q.arrival = parley.ArrivalRefuse
	}
	set, given, err := c.parameters.settings()
	if err != nil {
		return err
	}
	return c.app.on(cmd.Context(), conversation, func(s *host.Session, at *opened) error {
		if given {
			if _, err := at.conv.Publish(cmd.Context(), &set); err != nil {
				return err
			}
		}
		if c.follow && !s.Embedded() {
			c.q.conversation, c.q.json = conversation, asJSON
			files, err := readFiles(c.q.files)
			if err != nil {
				return err
			}
			end, err := c.q.turn(cmd.Context(), s, c.q.view(), text, files...)
			if err != nil {
				return err
			}
			return exitOf(end, false)
		}
		message := &parley.UserMessage{Text: text, Arrival: c.q.arrival, From: c.q.from}
		for _, path := range c.q.files {
			data, err := readFile(path)
			if err != nil {
				return err
			}
			p, err := s.Conversation(conversation).Attach(cmd.Context(), filepath.Base(path), data)
			if err != nil {
				return err
			}
			message.Parts = append(message.Parts, p)
		}
		answer, err := submit(cmd.Context(), s, at, message)
		if err != nil {
			return err
		}
		return printSent(asJSON, answer)
	})
}

// printSent prints the answer to a message.
func printSent(asJSON bool, a *parley.InputAnswered) error {
	line := string(a.Answer)
	var err error
	switch a.Answer {
	case parley.AnswerAccepted:
		line += ": turn " + a.Turn
	case parley.AnswerQueued:
		line += ": " + plainLine(a.Reason)
	default:
		err = notTaken(a)
	}
	switch {
	case asJSON:
		return errors.Join(printJSON(a), err)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(stdout(), line)
	return outputError(err)
}
