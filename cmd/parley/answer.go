package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/parleybus/parley"
	"github.com/parleybus/parley/internal/host"
)

// opened is a conversation and its state, for the commands that change something.
type opened struct {
	conv *parley.Conversation
	parley.Standing
}

// on runs a command on a conversation that exists.
func (a *app) on(ctx context.Context, id string, run func(s *host.Session, c *opened) error) (err error) {
	if err := parley.CheckID(id); err != nil {
		return err
	}
	s, err := a.client(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c := &opened{conv: s.Conversation(id)}
	if err := c.conv.Exists(ctx); err != nil {
		return err
	}
	if c.Standing, err = c.conv.Standing(ctx); err != nil {
		return err
	}
	return run(s, c)
}

// submit publishes an input and returns its answer.
func submit(ctx context.Context, s *host.Session, c *opened, input parley.Body) (*parley.InputAnswered, error) {
	if s.Embedded() {
		if _, err := c.conv.Publish(ctx, input); err != nil {
			return nil, err
		}
		return nil, &parley.Error{Code: parley.CodeNoServer, Err: fmt.Errorf("nothing runs on this data directory: the %s is in the log and is answered when `parley up` or `parley ask` runs", input.Type())}
	}
	return c.conv.Submit(ctx, input)
}

// notTaken returns an error for an answer other than accepted.
func notTaken(a *parley.InputAnswered) error {
	if a.Answer == parley.AnswerAccepted {
		return nil
	}
	return &parley.AnswerError{Answer: a}
}
