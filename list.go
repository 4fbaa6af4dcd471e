package parley

import (
	"context"
	"errors"
	"iter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/parleybus/parley/internal/bus"
)

// Summary is a conversation in a list: its id, the beginning of its first message
// (at most 200 characters), when it began and was last active, its state, and its
// position in the list. Error is the reason why it cannot be described, if it cannot.
type Summary = bus.Summary

// List returns a page of conversations by last activity, the newest first. It
// starts after the conversation with this Position; 0 is the first page. It returns
// at most limit conversations, all when limit is 0, and whether there may be more.
// Deleted conversations are left out. It costs what it returns, however many
// conversations there are.
func (c *Client) List(ctx context.Context, after uint64, limit int) (page []Summary, more bool, err error) {
	if limit < 0 {
		return nil, false, errorf(CodeInvalid, "a list of %d conversations is asked for: the limit must not be below 0", limit)
	}
	return c.bus.Deployment().Conversations(ctx, after, limit)
}

// pageSize is how many conversations [Client.Conversations] reads at once.
const pageSize = 100

// Conversations yields all conversations as [Client.List] orders them.
func (c *Client) Conversations(ctx context.Context) iter.Seq2[Summary, error] {
	return func(yield func(Summary, error) bool) {
		for after, more := uint64(0), true; more; {
			var page []Summary
			var err error
			if page, more, err = c.List(ctx, after, pageSize); err != nil {
				yield(Summary{}, err)
				return
			}
			for _, s := range page {
				after = s.Position
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// OlderThan returns the ids of the conversations that were last active before a
// time, the oldest first, without those that are deleted.
func (c *Client) OlderThan(ctx context.Context, before time.Time) ([]string, error) {
	var old []string
	err := c.bus.Deployment().Recent(ctx, 0, func(r bus.Recent) (bool, error) {
		if r.Last.Before(before) {
			old = append(old, r.ID)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	gone := make([]bool, len(old))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, id := range old {
		g.Go(func() error {
			d, _, err := c.bus.Conversation(id).LastDecision(ctx, 0)
			// One that cannot be read can still be deleted.
			gone[i] = err == nil && d != nil && d.State.Gone()
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []string
	for i := len(old) - 1; i >= 0; i-- {
		if !gone[i] {
			all = append(all, old[i])
		}
	}
	return all, nil
}

// Fetch returns the bytes of an object: a large result, or an attachment. It fails
// with [CodeNotFound] if it was deleted or has expired.
func (c *Client) Fetch(ctx context.Context, o *Object) ([]byte, error) {
	if o == nil {
		return nil, errorf(CodeInvalid, "there is no object to fetch")
	}
	data, err := c.bus.Objects().Get(ctx, o)
	if errors.Is(err, bus.ErrNoObject) {
		err = &Error{CodeNotFound, err}
	}
	return data, err
}
