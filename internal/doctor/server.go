package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parleybus/parley/internal/bus"
)

// streams checks that every stream, bucket and queue exists and has the
// settings that Parley needs.
func (x *Examination) streams(ctx context.Context) (says, fixed string, err error) {
	states, err := x.Bus.Deployment().States(ctx)
	if err != nil {
		return "", "", err
	}
	var bad []string
	for _, s := range states {
		if s.Missing {
			bad = append(bad, s.Name+" is missing")
		} else if len(s.Wrong) > 0 {
			bad = append(bad, s.Name+" differs ("+strings.Join(s.Wrong, ", ")+")")
		}
	}
	says = fmt.Sprintf("%d streams and buckets are as they must be", len(states))
	if len(bad) == 0 {
		return says, "", nil
	}
	if !x.Fix {
		return "", "", fmt.Errorf("%s: an orchestrator or `parley up` corrects it within seconds, or use `parley doctor --fix`", strings.Join(bad, ", "))
	}
	done, err := x.Bus.Deployment().Repair(ctx)
	if err != nil {
		return "", strings.Join(done, "; "), err
	}
	return says, strings.Join(done, "; "), nil
}

// writes tests that messages are stored.
func (x *Examination) writes(ctx context.Context) (says, fixed string, err error) {
	if err := x.Bus.Deployment().TestWrites(ctx); err != nil {
		return "", "", err
	}
	return "messages are stored", "", nil
}

// disk checks the free space, of the account and on the disk.
func (x *Examination) disk(ctx context.Context) (says, fixed string, err error) {
	if x.Dir != "" {
		if free, known := freeBytes(x.Dir); known {
			if free < x.Tolerance.FreeBytes {
				return "", "", fmt.Errorf("%d MB are left on the disk of %s: free some, or move the data directory with --data", free>>20, x.Dir)
			}
			says = fmt.Sprintf("%d MB are free on the disk of %s", free>>20, x.Dir)
		}
	}
	used, most, err := x.Bus.Deployment().Space(ctx)
	switch {
	case bus.Denied(err) && says != "":
		return says, "", nil
	case err != nil:
		return "", "", err
	case most > 0 && used*100 > most*fullPercent:
		return "", "", fmt.Errorf("JetStream stores %d of at most %d MB for this account: raise its max_file, lower --max-age, or delete conversations", used>>20, most>>20)
	case most > 0:
		return strings.TrimPrefix(fmt.Sprintf("%s; JetStream stores %d of at most %d MB", says, used>>20, most>>20), "; "), "", nil
	}
	return strings.TrimPrefix(fmt.Sprintf("%s; JetStream stores %d MB", says, used>>20), "; "), "", nil
}

// clock compares this machine's clock with the server's.
func (x *Examination) clock(ctx context.Context) (says, fixed string, err error) {
	skew, err := x.Bus.Deployment().ClockSkew(ctx)
	if err != nil {
		return "", "", err
	}
	if skew.Abs() > x.Tolerance.ClockSkew {
		return "", "", fmt.Errorf("the clock of this machine and that of the server differ by %s: let both synchronise their time (NTP)", skew.Round(time.Millisecond))
	}
	return fmt.Sprintf("this clock and the server's differ by %s", skew.Abs().Round(time.Millisecond)), "", nil
}

// replicas checks that replicated streams have a leader and current replicas.
func (x *Examination) replicas(ctx context.Context) (says, fixed string, err error) {
	states, err := x.Bus.Deployment().States(ctx)
	if err != nil {
		return "", "", err
	}
	var bad []string
	for _, s := range states {
		if !s.Leader {
			bad = append(bad, s.Name+" has no leader")
		}
		for _, name := range s.Offline {
			bad = append(bad, fmt.Sprintf("replica %s of %s is offline", name, s.Name))
		}
		for _, lag := range s.Lagging {
			bad = append(bad, fmt.Sprintf("%s lags: %s", s.Name, lag))
		}
	}
	if len(bad) > 0 {
		return "", "", fmt.Errorf("%s: start the server that is down and let it catch up, see `nats server report jetstream`", strings.Join(bad, "; "))
	}
	return "no replica is offline or behind", "", nil
}

// late reports whether HISTORY lacks a fact that it should have by now.
func (x *Examination) late(s bus.Behind) bool {
	return !s.Diverging && s.Fact > s.Copied && time.Since(s.FactAt) > x.Tolerance.HistoryLag
}

// history checks that HISTORY has the same facts as CONV.
func (x *Examination) history(ctx context.Context) (says, fixed string, err error) {
	behind, err := x.Bus.Deployment().HistoryBehind(ctx)
	// The server takes some seconds to copy after a source is there again.
	for deadline := time.Now().Add(catchUp); x.Fix && err == nil && slices.ContainsFunc(behind, x.late) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return "", "", ctx.Err()
		case <-time.After(catchUp / 50):
		}
		behind, err = x.Bus.Deployment().HistoryBehind(ctx)
	}
	if err != nil {
		return "", "", err
	}
	var bad, done []string
	for _, s := range behind {
		if s.Diverging {
			bad = append(bad, fmt.Sprintf("HISTORY has facts up to %d of CONV_%d, which ends at %d: CONV has lost its end or was created again", s.Copied, s.Shard, s.End))
		} else if x.late(s) {
			bad = append(bad, fmt.Sprintf("HISTORY is behind CONV_%d: it has facts up to %d of %d", s.Shard, s.Copied, s.Fact))
		}
		reset, err := x.Bus.Shard(s.Shard).StaleCheckpoint(ctx, x.Fix)
		if err != nil {
			return "", "", err
		}
		if reset && x.Fix {
			done = append(done, fmt.Sprintf("the log of shard %d was repaired", s.Shard))
		} else if reset {
			bad = append(bad, fmt.Sprintf("the checkpoint of shard %d is past the end of its log: use `parley doctor --fix`", s.Shard))
		}
	}
	fixed = strings.Join(done, "; ")
	if len(bad) > 0 {
		return "", fixed, errors.New(strings.Join(bad, "; ") + ": if this lasts, restart the server that holds HISTORY; conversations continue from what both have")
	}
	last, _, err := x.Bus.Deployment().Conversations(ctx, 0, 1)
	switch {
	case err != nil:
		return "", fixed, err
	case len(last) == 0:
		return "there are no conversations yet", fixed, nil
	}
	return fmt.Sprintf("conversation %s was active last, at %s", last[0].ID, last[0].Last.UTC().Format(time.RFC3339)), fixed, nil
}
