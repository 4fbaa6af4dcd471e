package main

import (
	"context"
	"fmt"
	"time"

	"github.com/parleybus/parley/internal/bus"
	"github.com/parleybus/parley/internal/topology"
)

// diagnosisTimeout bounds finding out why there is no answer.
const diagnosisTimeout = 8 * time.Second

const (
	// doubtAfter is how long the log may be silent before it is asked why.
	doubtAfter = 2500 * time.Millisecond
	// doubtAgain is how long a turn that runs may be silent.
	doubtAgain = 8 * time.Second
)

// doubt leaves a turn that cannot go on: nobody takes the message, or messages are
// not stored any more.
func (t *shownTurn) doubt(ctx context.Context, leave context.CancelCauseFunc) {
	began, tested := time.Now(), false
	tick := time.NewTicker(doubtAfter / 5)
	defer tick.Stop()
	for silent := doubtAgain; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var err error
		switch waiting := t.input != "" && !t.taken.Load(); {
		case waiting && time.Since(began) > answerPatience:
			err = t.s.unanswered(ctx, t.q.conversation, "question")
		case waiting && !tested && time.Since(began) > doubtAfter:
			tested, err = true, t.s.notStored(ctx, "question")
		case waiting:
		case time.Since(time.Unix(0, t.heard.Load())) < doubtAgain:
			silent = doubtAgain
		case time.Since(time.Unix(0, t.heard.Load())) > silent:
			silent *= 2
			err = t.s.lost(ctx, t.q.conversation)
		}
		if err != nil && ctx.Err() == nil {
			leave(err)
			return
		}
	}
}

// lost says that a turn cannot go on because nobody can write to it.
func (s *session) lost(ctx context.Context, conversation string) error {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	if err := s.TestWrites(ctx); bus.NotStored(err) {
		return &exitError{exitNotStored, fmt.Errorf("the turn stops here and goes on when messages can be stored again, see `parley tail %s`: %w", conversation, err)}
	}
	return nil
}

// unanswered says why an input had no answer: messages are not stored, no
// orchestrator runs, or the one that runs does not get to it.
func (s *session) unanswered(ctx context.Context, conversation, what string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnosisTimeout)
	defer cancel()
	if err := s.notStored(ctx, what); err != nil {
		return err
	}
	shard := topology.ShardOf(conversation, s.Shards())
	owners, err := s.Owners(ctx)
	owner, owned := owners[shard]
	if err == nil && owned {
		return &exitError{exitNotStored, fmt.Errorf("orchestrator %s owns the conversation and did not answer the %s within %s: see its log and its /readyz, or use `parley doctor`; the %s is in the log, see `parley tail %s`",
			owner, what, answerPatience, what, conversation)}
	}
	return &exitError{exitUnowned, fmt.Errorf("no orchestrator took the %s within %s: it is in the log and is answered when one runs; start `orchestrator` or `parley up --only orchestrator`, then see `parley tail %s`",
		what, answerPatience, conversation)}
}

// notStored says that no answer can be written; nil when one can.
func (s *session) notStored(ctx context.Context, what string) error {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	if err := s.TestWrites(ctx); bus.NotStored(err) {
		return &exitError{exitNotStored, fmt.Errorf("the %s is in the log and the orchestrator cannot write its answer: %w", what, err)}
	}
	return nil
}
