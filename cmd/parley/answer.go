package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/parleybus/parley/internal/accumulator"
	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/events"
	"github.com/parleybus/parley/internal/topology"
)

// on runs a command on a conversation that exists.
func (a *app) on(ctx context.Context, conversation string, run func(s *session, p *pending) error) (err error) {
	if err := topology.CheckID("conversation", conversation); err != nil {
		return &exitError{exitUsage, err}
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := s.pending(ctx, conversation)
	if err != nil {
		return err
	}
	if err := deletedError(conversation, &p.State); err != nil {
		return err
	}
	if p.Lane == 0 {
		// Nothing was decided; something may have been said.
		c, err := s.Describe(ctx, conversation)
		if err != nil {
			return err
		}
		if c.Last.IsZero() {
			return noConversation(conversation)
		}
	}
	return run(s, &p)
}

func noConversation(id string) error {
	return fmt.Errorf("there is no conversation %s: `parley ls` lists what there is", id)
}

// folded is a conversation as its facts make it, with its transcript; nil when
// there is none.
func (s *session) folded(ctx context.Context, id string) (*accumulator.Conversation, error) {
	return s.foldedWith(ctx, id, func(bus.Message) {})
}

// foldedWith also shows the facts to see.
func (s *session) foldedWith(ctx context.Context, id string, see func(bus.Message)) (*accumulator.Conversation, error) {
	var c *accumulator.Conversation
	err := s.Facts(ctx, id, 0, func(m bus.Message) error {
		if c == nil {
			c = &accumulator.Conversation{ID: id, Transcript: accumulator.NewTranscript()}
		}
		c.Apply(m.Folded())
		see(m)
		return nil
	})
	if c != nil {
		c.Drain() // what is behind an input that nobody answered counts too
	}
	return c, err
}

// tell publishes an input and waits for what becomes of it.
func (s *session) tell(ctx context.Context, conversation string, make func(id string) events.Event) (*events.InputAnswered, error) {
	var what string
	input, seq, err := s.say(ctx, conversation, func(id string) events.Event {
		e := make(id)
		what = e.Type()
		return e
	})
	if err != nil {
		return nil, err
	}
	if s.server != nil {
		return nil, &exitError{exitNobody, fmt.Errorf("nothing runs on this data directory: the %s stands in the log and is answered when `parley up` or `parley ask` runs", what)}
	}
	ctx, stop := context.WithTimeout(ctx, answerPatience)
	defer stop()
	var answer *events.InputAnswered
	for m, err := range s.Attach(ctx, conversation, bus.From{After: bus.Cursor{Sequence: seq, Index: bus.Whole}}) {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, s.unanswered(ctx, conversation, what)
		}
		if err != nil {
			return nil, err
		}
		decided(m, func(e events.Event) {
			if e, ok := e.(*events.InputAnswered); ok && e.Input == input && answer == nil {
				answer = e
			}
		})
		if answer != nil {
			return answer, nil
		}
	}
	return nil, errors.New("the conversation's log ended before the answer")
}

// notTaken is an answer that is not what was wanted, as an error.
func notTaken(a *events.InputAnswered) error {
	if a.Answer == events.AnswerAccepted {
		return nil
	}
	return fmt.Errorf("%s: %s", a.Answer, a.Reason)
}
