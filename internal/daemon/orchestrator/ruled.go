package orchestrator

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/policy"
)

// ruled runs an orchestrator by the rules of a file. When the file changes, the
// orchestrator hands its shards back, as on a stop, and another one takes them with
// the new rules: what no decision has been made on is decided by them. A file with
// an error changes nothing.
type ruled struct {
	file daemon.FollowedFile // its path is "" for none
	log  *slog.Logger
	run  func(ctx context.Context, rules policy.Defaults) error
}

// follow runs orchestrators until ctx ends or one fails.
func (r *ruled) follow(ctx context.Context, rules policy.Defaults, interval time.Duration) error {
	if r.file.Path == "" {
		return r.run(ctx, rules)
	}
	changed := make(chan policy.Defaults, 1)
	following, stop := context.WithCancel(ctx)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer stop()
	reader.Go(func() {
		r.file.Follow(following, interval, func() {
			next, err := policy.Load(r.file.Path)
			if err != nil {
				r.log.Error("the file of rules has changed and cannot be used; the rules stay as they were", "file", r.file.Path, "error", err)
				return
			}
			select {
			case <-changed: // nobody has taken it yet
			default:
			}
			changed <- next
		})
	})
	for {
		next, err := r.until(ctx, rules, changed)
		if next == nil {
			return err
		}
		rules = *next
		r.log.Info("the file of rules was read again", "file", r.file.Path)
	}
}

// until runs an orchestrator until other rules count, which it returns, or until it
// ends.
func (r *ruled) until(ctx context.Context, rules policy.Defaults, changed <-chan policy.Defaults) (*policy.Defaults, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.run(running, rules) }()
	select {
	case err := <-ended:
		return nil, err
	case next := <-changed:
		stop()
		if err := <-ended; err != nil && running.Err() == nil || ctx.Err() != nil {
			return nil, err
		}
		return &next, nil
	}
}
