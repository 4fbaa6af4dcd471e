package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleybus/parley/internal/bench/wire"
	"github.com/parleybus/parley/internal/topology"
)

// stream is Redis Streams as teams use them by hand: a stream for each conversation, XADD
// for each event, in a pipeline where several are due, and for each viewer a connection
// that waits in XREAD.
type stream struct {
	client *redis.Client
}

// field is that of an entry.
const field = "e"

// page is how many entries are read at once.
const page = 1000

func open(ctx context.Context, url string) (wire.Wire, error) {
	c := redis.NewClient(&redis.Options{Addr: url, PoolSize: 12_000, MinIdleConns: 0, ReadTimeout: -1, PoolTimeout: time.Minute})
	if err := c.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to Redis: %w", err), c.Close())
	}
	return &stream{c}, nil
}

// Publish implements [wire.Wire]. It returns when the events are stored.
func (s *stream) Publish(ctx context.Context, to topology.Address, events [][]byte) error {
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range events {
			p.XAdd(ctx, &redis.XAddArgs{Stream: to.Conversation, Values: []any{field, e}})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write to the stream %s: %w", to.Conversation, err)
	}
	return nil
}

// Flush implements [wire.Wire].
func (s *stream) Flush(context.Context) error { return nil }

// Watch implements [wire.Wire].
func (s *stream) Watch(ctx context.Context, to topology.Address, each func(event []byte)) (stop func(), err error) {
	conn := s.client.Conn()
	after := "0"
	if err := conn.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to Redis: %w", err), conn.Close())
	}
	if last, err := conn.XInfoStream(ctx, to.Conversation).Result(); err == nil { // else there is none yet
		after = last.LastGeneratedID
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	stop = func() {
		cancel()
		<-ended
		_ = conn.Close() // returns it to the pool
	}
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			got, err := conn.XRead(ctx, &redis.XReadArgs{Streams: []string{to.Conversation, after}, Count: page, Block: time.Second}).Result()
			if err != nil {
				continue // nothing came, or the end
			}
			for _, m := range got[0].Messages {
				after = m.ID
				each([]byte(m.Values[field].(string)))
			}
		}
	}()
	return stop, nil
}

// Read implements [wire.Wire].
func (s *stream) Read(ctx context.Context, to topology.Address, n int, each func(event []byte)) error {
	from, got := "-", 0
	for got < n {
		all, err := s.client.XRangeN(ctx, to.Conversation, from, "+", page).Result()
		if err != nil {
			return fmt.Errorf("read the stream %s: %w", to.Conversation, err)
		}
		if len(all) == 0 {
			return fmt.Errorf("the stream %s has %d of %d events", to.Conversation, got, n)
		}
		for _, m := range all[:min(len(all), n-got)] {
			each([]byte(m.Values[field].(string)))
			got++
		}
		from = "(" + all[len(all)-1].ID
	}
	return nil
}

// Close implements [wire.Wire].
func (s *stream) Close() error { return s.client.Close() }
